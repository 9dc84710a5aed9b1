"""Export a model: what ``coseg-export`` does, with the scores of its graphs beside those of the network."""

from __future__ import annotations

import copy
import json
import math
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from coseg.data.dataset import ImageItem
from coseg.errors import CosegError, unknown_choice
from coseg.evaluation.iteration import PairIteration
from coseg.export.any_network import graphs_of_any, own_group, traced_any, tracing
from coseg.export.describe import config_of, readme
from coseg.export.formats import SUFFIXES, export_folder, require_packages, traced, write_onnx, write_torch
from coseg.export.graphs import Graphs, graphs_of, has_graphs
from coseg.export.quantise import quantise
from coseg.export.runtime import compare, load_graphs, require_close, sizes_of
from coseg.files.writing import json_text
from coseg.hub.load import Pretrained, load_pretrained
from coseg.hub.settings import CARD, CHECKSUM, CONFIG
from coseg.hub.share import save_pretrained
from coseg.labels import pair_targets
from coseg.metrics.mask_counts import mask_score, predicted_mask
from coseg.models.base import CosegNetwork
from coseg.models.encoders.base import Encoder
from coseg.models.mirrored import MirroredNetwork
from coseg.models.registry import known_network
from coseg.models.thresholded import ThresholdedNetwork

if TYPE_CHECKING:
    from coseg.data.datamodule import PairDataModule  # which imports Lightning


FORMATS = (*SUFFIXES, "safetensors")

Report = Callable[[str], object]


def export_model(
    model: Pretrained,
    formats: Sequence[str],
    out: Path,
    overwrite: bool = False,
    size: int | None = None,
    images: Sequence[Tensor] | None = None,
    half: bool = False,
    report: Report = print,
) -> Graphs | None:
    """Write a model into a folder in several formats, each compared with the network in its own runtime.

    Args:
        model: what `load_pretrained` gives.
        formats: some of `FORMATS`.
        out: a folder, made if needed.
        overwrite: write into a folder that is not empty.
        size: in place of the model's own, see `coseg.hub.settings.settings_of`.
        images: to calibrate int8 graphs, uint8 (1, 3, H, W); None: no int8 graphs.
        half: the weights of safetensors in half precision; the difference to the network is reported only.
        report: called with a line for each check.

    Returns:
        The graphs; None where `formats` names weights only.

    Raises:
        CosegError: the network can't be exported, a package is missing, `out` can't be written or must not be, or a
            logit differs by more than `coseg.export.runtime.TOLERANCE`. Then nothing is written.
    """
    for form in formats:
        if form not in FORMATS:
            raise unknown_choice("--format", form, FORMATS)
    if images is not None and "onnx" not in formats:
        raise CosegError("int8 is made from ONNX: add onnx to --format.")
    if "onnx" in formats:
        require_packages("onnx", "onnxscript", "onnxruntime")
    sized = _sized(model, size)
    network = sized.network
    mirrored = isinstance(network, MirroredNetwork)
    wanted = [form for form in SUFFIXES if form in formats]
    if wanted and network.input_size is None and not _of_any_size(network):
        network.input_size = size
    graphs = None
    if wanted and has_graphs(network):
        graphs = graphs_of(network)
    elif wanted:
        graphs = graphs_of_any(network)
        report(f"a {type(network).__name__} is traced as it is: for images of {graphs.size} x {graphs.size} pixels")
        if own_group(network):
            report("its cosegment_group is not in the graphs: for a group, take the mean of the pairs' logits")
    if mirrored and wanted:
        report(
            "the graphs also use mirror images, as the network does: --no-mirrored leaves them out, for half the cost"
        )
    with export_folder(out, overwrite, "safetensors" in formats) as folder:
        config: dict[str, Any] = {key: value for key, value in sized.settings.items() if key != CHECKSUM}
        texts: list[str] = []
        if "safetensors" in formats:
            _share(sized, folder, half, report)
            config, texts = _read(folder / CONFIG), [(folder / CARD).read_text(encoding="utf-8")]
        if graphs is not None:
            graphs, differences = _write(network, graphs, wanted, folder, report)
            config = config_of(config, graphs, network.input_size is not None, mirrored, differences)
            if images is not None:
                exported = load_graphs(folder, "onnx", len(graphs.features), network.input_size, single=graphs.single)
                quantise(folder, exported, images)
                config["graphs"]["int8"] = {"calibration_images": len(images)}
                report(f"int8: calibrated with {len(images)} images; --measure shows what it costs")
            texts.append(readme(config, model.source))
        (folder / CONFIG).write_text(json_text(config), encoding="utf-8")
        (folder / CARD).write_text("\n".join(texts), encoding="utf-8")
    return graphs


def _of_any_size(network: CosegNetwork) -> bool:
    """Whether the graphs of a network take images of any size."""
    encoders = [module for module in network.modules() if isinstance(module, Encoder)]
    return has_graphs(network) and all(encoder.graph_of_any_size for encoder in encoders)


def _sized(model: Pretrained, size: int | None) -> Pretrained:
    """A copy of the model on the CPU in float32, with `size`, or the size of its settings."""
    size = model.settings.get("size") if size is None else size
    network = copy.deepcopy(model.network).cpu().float().eval()
    if network.input_size is not None and size is not None:
        network.input_size = size
    return model._replace(network=network, settings={**model.settings, "size": size or network.input_size})


def _share(model: Pretrained, folder: Path, half: bool, report: Report) -> None:
    save_pretrained(folder, model.settings["network"], model.network, model.settings, half)
    trust = not known_network(model.settings["network"])  # the class is imported already: it made the network
    shared = load_pretrained(folder, trust).network
    if model.network.input_size is not None:
        shared.input_size = model.network.input_size
    differences = compare(model.network, shared, [(40, 56), (64, 33)])
    most = max(difference for _, difference in differences) if half else require_close(differences, "safetensors")
    report(f"safetensors: {'half precision, ' if half else ''}differs by at most {most:.1e}")


def _write(
    network: CosegNetwork, graphs: Graphs, formats: list[str], folder: Path, report: Report
) -> tuple[Graphs, dict[str, float]]:
    graphs, programs = (graphs, traced(graphs)) if has_graphs(network) else traced_any(network, graphs)
    worst = {}
    for form in formats:
        with nullcontext() if has_graphs(network) else tracing(network, form):
            if form == "torch":
                write_torch(programs, folder)
            else:
                write_onnx(programs, graphs, folder)
    free = copy.deepcopy(network)
    if graphs.size is None:
        free.input_size = None  # images of several sizes are compared
    for form in formats:
        exported = load_graphs(folder, form, len(graphs.features), free.input_size, single=graphs.single)
        differences = compare(free, exported, sizes_of(graphs.stride, graphs.size), 1 if graphs.single else 3)
        for words, difference in differences:
            report(f"{form}: {words}: {difference:.1e}")
        worst[form] = require_close(differences, form)
        report(f"{form}: differs by at most {worst[form]:.1e}")
    return graphs, worst


def scored(folder: Path, datamodule: PairDataModule, void: str, threads: int = 1) -> str:
    """A table of scores and times of the ONNX graphs in a folder, and of its int8 graphs if it has some.

    Args:
        folder: of an export.
        datamodule: its test pairs are scored.
        void: ``background`` or ``ignored``.
        threads: of onnxruntime.
    """
    config = _read(folder / CONFIG)
    about = config["graphs"]
    size = config["size"] if about["resize"] == "square" else None
    measured = {}
    for name, form in (("float32", "onnx"), ("int8", "int8")):
        if form == "onnx" or form in about:
            exported = load_graphs(folder, form, len(about["features"]), size, threads, about["single"])
            measured[name] = measure(ThresholdedNetwork(exported, config["threshold"]), datamodule, void)
    return table(measured)


def _read(path: Path) -> dict[str, Any]:
    settings: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return settings


GIGABYTES = 1.0
"""Memory for features, so that most images are encoded once."""


class Measured(NamedTuple):
    """Scores and times of graphs.

    Attributes:
        pairs: their number.
        jaccard: mean IoU of all masks with a truth, void as background.
        jaccard_distractor: of those whose image also holds an object that is not common; nan where none does.
        encode: seconds per image.
        cosegment: seconds per pair, both masks.
    """

    pairs: int
    jaccard: float
    jaccard_distractor: float
    encode: float
    cosegment: float

    @property
    def seconds(self) -> float:
        """Per pair of new images."""
        return 2 * self.encode + self.cosegment


def measure(network: CosegNetwork, datamodule: PairDataModule, void: str = "background") -> Measured:
    """Score graphs on the test pairs of a data module, one pair at a time, each image encoded once.

    The masks are those of `network` at the images' original sizes, by `coseg.metrics.pair_scores`.
    """
    order = datamodule.order("test")
    presence = datamodule.catalog("test").presence
    encoding, cosegmenting = _Clock(), _Clock()

    def read(indices: Iterable[int]) -> Iterable[ImageItem]:
        return datamodule.image_loader("test", indices, workers=0)

    def encode(image: Tensor) -> Any:
        return encoding.run(partial(network.encode, image))

    overlaps: list[float] = []
    distracted: list[bool] = []
    pairs = sorted({order.pair(0, k) for k in range(len(order))})
    for group in PairIteration(pairs, read, encode, GIGABYTES):
        features, sizes = (group.features_a, group.features_b), group.sizes
        logits = cosegmenting.run(partial(network.cosegment, *features, *sizes))
        first, second = np.array(group.pairs).T
        common = torch.from_numpy(presence[first] & presence[second])
        for side, labels in zip(logits, (group.labels_a, group.labels_b), strict=True):
            score = mask_score(predicted_mask(side), pair_targets(labels, common), void)
            overlaps += score.iou.tolist()
            distracted += score.distractor.tolist()
    iou, hard = np.array(overlaps), np.array(distracted)
    return Measured(len(pairs), _mean(iou), _mean(iou[hard]), encoding.mean, cosegmenting.mean)


def table(measured: dict[str, Measured]) -> str:
    """A line for each kind of graph, and the difference of the last to the first."""
    lines = [f"{'':<10}  {'jaccard':>8}  {'distractor':>10}  {'ms an image':>11}  {'ms a pair':>9}  {'both':>8}"]
    for name, result in measured.items():
        times = (1000 * seconds for seconds in (result.encode, result.cosegment, result.seconds))
        cells = "  ".join(f"{ms:>{width}.1f}" for ms, width in zip(times, (11, 9, 8), strict=True))
        lines.append(f"{name:<10}  {result.jaccard:>8.4f}  {result.jaccard_distractor:>10.4f}  {cells}")
    first, *_, last = measured.values()
    if len(measured) > 1:
        gains = last.jaccard - first.jaccard, last.jaccard_distractor - first.jaccard_distractor
        lines.append(f"{'difference':<10}  {gains[0]:>+8.4f}  {gains[1]:>+10.4f}")
    return "\n".join(lines)


class _Clock:
    """The time of calls. The first prepares the runtime: where there are several, the mean leaves it out."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def run(self, job: Callable[[], Any]) -> Any:
        began = time.perf_counter()
        result = job()
        self.times.append(time.perf_counter() - began)
        return result

    @property
    def mean(self) -> float:
        return float(np.mean(self.times[1:] or self.times))


def _mean(values: np.ndarray) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else math.nan
