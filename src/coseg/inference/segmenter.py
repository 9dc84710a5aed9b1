"""Cut the common object out of photographs with a trained network."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from numbers import Real
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from coseg.errors import CosegError, checked_threshold
from coseg.hub.load import load_pretrained
from coseg.hub.share import SharedModel
from coseg.inference.cooccurrence.belonging import Answer, clusters
from coseg.inference.cooccurrence.statistics import answer_for, calibration_of, compares_all, pair_logits
from coseg.inference.cosegmentation import Cosegmentation, Segment, calibration_scores
from coseg.inference.encoded_images import Encoded, EncodedImages, repeated, require_encoded, require_two, several
from coseg.inference.exemplar import Exemplars, Region
from coseg.inference.named_objects import NamedExemplars
from coseg.inference.photographs import LONGEST, WORKING, Source, in_srgb, load_photograph
from coseg.inference.processes import ALONE
from coseg.models.base import CosegNetwork, checked_input_size
from coseg.models.features import group_logits
from coseg.run_dir import coseg_version
from coseg.training.devices import device_of


class CoSegmenter(SharedModel):
    """A trained network that segments what photographs have in common.

    Images are paths, the bytes of image files, binary file objects, PIL images, arrays (H, W, 3) or tensors (3, H, W),
    uint8 or floating point in 0..1, of any size; see `coseg.inference.photographs.load_photograph`. Results are
    deterministic.

    Args:
        network: put into evaluation mode and onto `device`.
        settings: of the model, see `coseg.hub.settings.settings_of`.
        device: ``auto``: an NVIDIA GPU, Apple's, or the CPU, whichever is available; or a device name of torch.
        size: replaces the input size of a network that has one; for a network that takes images of any size, their
            longest side. None: as in the settings.
        threshold: pixels with a larger probability are foreground, 0..1. None: as in the settings.
        source: the model's name in messages.
        keep_islands: do not remove small islands and strips along the border from the masks, see
            `coseg.imaging.islands`.

    Attributes:
        exemplar_threshold: as `threshold`, of masks by exemplars; where it is None: 0.5, so that the object is likelier
            than background and all else that the exemplars show, together.
        processes: that divide groups among them, see `coseg.inference.processes`.
        size_note: a sentence where `size` is not the model's own, at which its masks were measured; None: it is.

    Raises:
        CosegError: a value is not valid, or the device is not available.

    >>> model = CoSegmenter.from_pretrained()  # doctest: +SKIP
    >>> result = model.pair("a.jpg", "b.jpg")  # doctest: +SKIP
    >>> result.common, result[0].mask().shape  # doctest: +SKIP
    (0.93, (1200, 1600))
    """

    def __init__(
        self,
        network: CosegNetwork,
        settings: dict[str, Any],
        device: str = "auto",
        size: int | None = None,
        threshold: float | None = None,
        source: str = "this model",
        keep_islands: bool = False,
    ) -> None:
        if not isinstance(network, CosegNetwork):
            raise CosegError(
                f"The network is a {type(network).__name__}, but must be a CosegNetwork: CoSegmenter.from_pretrained "
                "loads one from a folder, a file or a run."
            )
        self.source = source
        self.device = device_of(device)
        self.settings = settings
        self.size: int | None = checked_input_size(settings.get("size") if size is None else size, "The size")
        self.threshold = checked_threshold(settings.get("threshold", 0.5) if threshold is None else threshold)
        self.exemplar_threshold = 0.5 if threshold is None else self.threshold
        models_own = network.input_size if settings.get("size") is None else settings["size"]
        self.network = network.to(self.device).eval()
        if network.input_size is not None:
            self.size = network.input_size if self.size is None else self.size
            network.input_size = self.size
        self.calibration = calibration_of(network, settings)
        self.keep_islands = keep_islands
        self.processes = ALONE
        self.size_note = _size_note(self.size, models_own)

    @classmethod
    def from_pretrained(  # type: ignore[override]
        cls,
        source: str | Path | None = None,
        *,
        device: str = "auto",
        size: int | None = None,
        threshold: float | None = None,
        trust: bool = False,
        keep_islands: bool = False,
    ) -> CoSegmenter:
        """The model in `source`: a folder, a file, a checkpoint, a run directory or ``owner/name`` on the hub.

        None is the bundled model. See `coseg.hub.load.load_pretrained`, also for `trust`; the other arguments are those
        of the class. A `size` that is not the model's own is reported by a warning.

        Raises:
            CosegError: `source` holds no usable model, or a value is not valid.
        """
        network, settings, name = load_pretrained(source, trust)
        segmenter = cls(network, settings, device, size, threshold, name, keep_islands)
        if segmenter.size_note is not None:
            warnings.warn(segmenter.size_note, stacklevel=2)
        return segmenter

    def pair(self, a: Source, b: Source) -> Cosegmentation:
        """Segment what two images have in common, by the network's `cosegment`.

        Raises:
            CosegError: one of them is not an image, or the model gives numbers that are not finite.
        """
        encoded = self.encode(a, "image 1"), self.encode(b, "image 2")
        return self.cosegment(encoded)

    def group(
        self,
        images: Iterable[Source],
        progress: Callable[[int, int], None] | None = None,
        unreadable: Callable[[int, CosegError], None] | None = None,
    ) -> Cosegmentation:
        """Segment what two or more images have in common, each against all others.

        Images are read one at a time. For n images, networks with their own method for groups (cross-correlation among
        them) take time in proportion to n, others to n². For two images the result may differ slightly from `pair`, if
        the network's documentation says so.

        Args:
            images: at least two.
            progress: called with the finished steps and their total, 2 n: to read and to segment each image.
            unreadable: called with the index of an image that can't be read, and the error; it is left out, and the
                others are the group. None: the error is raised.

        Raises:
            CosegError: `images` is not a list of two or more, one is not an image, or the model gives numbers that are
                not finite.
        """
        sources = several(images)
        require_two(len(sources))
        encoded = EncodedImages(self.device)
        for k, error in enumerate(encoded.read(self.encode, sources, self.processes)):
            if error is not None:
                if unreadable is None:
                    raise error
                unreadable(k, error)
            if progress is not None:
                progress(k + 1, 2 * len(sources))
        require_two(len(encoded))
        return self._group(encoded.images, encoded.features, progress)

    def exemplar(self, shown: Iterable[tuple[Source | Encoded, Region]], everywhere: bool = False) -> Exemplars:
        """The object that a person has shown: ``model.exemplar([(image, mask), …]).segment(images)`` finds it.

        Args:
            shown: photographs, and where the object is in each: a mask, a rectangle or a point, see
                `coseg.inference.exemplar.Region`.
            everywhere: the object is known to be in every image.

        Raises:
            CosegError: see `coseg.inference.exemplar.Exemplars`.
        """
        return Exemplars(self, shown, everywhere)

    def exemplars(
        self, objects: Mapping[str, Iterable[tuple[Source | Encoded, Region]]], everywhere: bool = False
    ) -> NamedExemplars:
        """Several objects, by name: ``model.exemplars({"horse": [(image, mask)], "rider": […]}).segment(images)``.

        Args:
            objects: of each its exemplars, as for `exemplar`.
            everywhere: all objects are known to be in every image.

        Raises:
            CosegError: see `coseg.inference.named_objects.NamedExemplars`.
        """
        return NamedExemplars(self, objects, everywhere)

    @torch.inference_mode()
    def encode(self, image: Source, name: str = "image 1") -> Encoded:
        """Run the encoder on an image; `name` is used if it has no file name.

        Raises:
            CosegError: it is not an image.
        """
        if self.network.input_size is None:
            longest = LONGEST if self.size is None else self.size
        else:
            longest = max(WORKING, 2 * self.network.input_size)
        photograph = in_srgb(load_photograph(image, longest, name))
        pixels = torch.from_numpy(np.ascontiguousarray(photograph.pixels.transpose(2, 0, 1)))[None]
        return Encoded.of(photograph, self.network.encode(pixels.to(self.device)))

    @torch.inference_mode()
    def cosegment(
        self, encoded: Sequence[Encoded], progress: Callable[[int, int], None] | None = None
    ) -> Cosegmentation:
        """Segment what encoded images have in common; two are a pair, more a group, with its `progress` from half on.

        Raises:
            CosegError: there are fewer than two, one was not returned by `encode`, or the model gives numbers that are
                not finite.
        """
        require_encoded(encoded)
        require_two(len(encoded))
        features = [image.features for image in encoded]
        if len(encoded) > 2:
            return self._group(encoded, features, progress)
        a, b = encoded
        both = self.network.cosegment(a.features, b.features, a.working, b.working)
        return self._result(encoded, features, [self.probability(logits) for logits in both])

    @torch.inference_mode()
    def clusters(self, encoded: Sequence[Encoded]) -> list[list[int]]:
        """The groups into which encoded images fall: each two of a group probably share an object.

        Indices of the images of each group, the largest group first; an image that shares nothing is alone.

        Raises:
            CosegError: the model has no calibration that compares all images.
        """
        if self.calibration is None or not compares_all(self.calibration):
            raise CosegError(
                f"{self.source} has no calibration that compares all images, so it can't tell which belong together: "
                "take the bundled model, or fit one (python -m coseg.cli.calibrate)."
            )
        features, sizes = [image.features for image in encoded], [image.working for image in encoded]
        return clusters(pair_logits(self.network, self.calibration, features, sizes, self.processes))

    @torch.inference_mode()
    def response(self, a: Encoded, b: Encoded, y: float, x: float) -> NDArray[np.float32]:
        """How similar the features of B are to those at a point of A: float32 (h, w), on B's feature map, -1..1.

        The cosine similarity of A's feature vector at the point with each feature vector of B. The map covers B from
        its top left corner; its last row and column may extend beyond the image.

        Args:
            a: image A.
            b: image B.
            y: of the point, from 0 at the top edge of A to 1 at the bottom edge.
            x: of the point, from 0 at the left edge to 1 at the right edge.

        Raises:
            CosegError: the point is outside of the image.
        """
        require_encoded((a, b))
        point: tuple[Any, Any] = (y, x)
        if not all(isinstance(value, Real) and 0 <= value <= 1 for value in point):  # type: ignore[operator]
            raise CosegError(f"The point ({y}, {x}) is outside of the image: both numbers must be from 0 to 1.")
        map_a, map_b = (self.network.feature_map(image.features)[0].float() for image in (a, b))
        height, width = map_a.shape[-2:]
        vector = map_a[:, min(int(y * height), height - 1), min(int(x * width), width - 1)]
        response: NDArray[np.float32] = F.cosine_similarity(map_b, vector[:, None, None], dim=0).cpu().numpy()
        return response

    def model_scores(self, source: str, count: int = 2) -> dict[str, Any]:
        """The model and how it is used, for a scores file: with how often `common` is right for `count` images."""
        return {
            "coseg": coseg_version(),
            "model": source,
            "size": self.size,
            "threshold": self.threshold,
            "islands": "kept" if self.keep_islands else "removed",
            "device": str(self.device),
            "calibration": calibration_scores(self.calibration, count, self.size),
        }

    @torch.inference_mode()
    def _group(
        self,
        encoded: Sequence[Encoded],
        features: Sequence[Any],
        progress: Callable[[int, int], None] | None = None,
    ) -> Cosegmentation:
        processes, probabilities = self.processes, []
        members = None if processes.size == 1 else processes.share(len(encoded))
        logits = iter(group_logits(self.network, features, [image.working for image in encoded], members))
        for probability in processes.divided(len(encoded), lambda _: self.probability(next(logits))):
            probabilities.append(probability)
            if progress is not None:
                progress(len(encoded) + len(probabilities), 2 * len(encoded))
        return self._result(encoded, features, probabilities)

    def _result(
        self, encoded: Sequence[Encoded], features: Sequence[Any], probabilities: Sequence[NDArray[np.float16]]
    ) -> Cosegmentation:
        verdict = Answer(math.nan)
        if self.calibration is not None:
            sizes = [image.working for image in encoded]
            among = self.processes if len(encoded) > 2 else ALONE
            verdict = answer_for(self.network, self.calibration, features, sizes, probabilities, self.device, among)
            if not all(map(math.isfinite, (verdict.common, *verdict.belongs))):
                raise CosegError(
                    f"The calibration of {self.source} gives a probability that is not finite: fit it again "
                    "(coseg-calibrate), or set 'cooccurrence' in its config.json to null."
                )
        belongs = verdict.belongs or (math.nan,) * len(encoded)
        segments = tuple(
            Segment(image.name, image.size, probability, self.threshold, image.note, self.keep_islands, likely)
            for image, probability, likely in zip(encoded, probabilities, belongs, strict=True)
        )
        return Cosegmentation(segments, verdict.common, repeated(encoded), self.size)

    def probability(self, logits: Tensor) -> NDArray[np.float16]:
        """The probability of the common object, float16 (h, w), from logits (1, 2, h, w)."""
        if not logits.isfinite().all():
            raise CosegError(
                f"The network of {self.source} gives numbers that are not finite (NaN or infinity), so there is no "
                "prediction: its weights are damaged, or its training diverged. Use another model or checkpoint."
            )
        probability: NDArray[np.float16] = logits[0].float().softmax(0)[1].half().cpu().numpy()
        return probability


def _size_note(size: int | None, models_own: int | None) -> str | None:
    """A sentence on a size that is not the model's own."""
    if size is None or models_own is None or size == models_own:
        return None
    return f"The model works at {size} pixels, but was made for {models_own}: masks are often worse at other sizes."
