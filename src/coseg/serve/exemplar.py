"""The form of the endpoint for exemplars: photographs, and one or several objects that are searched for in them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from starlette.datastructures import FormData, UploadFile

from coseg.errors import CosegError
from coseg.imaging.masks import read_mask
from coseg.inference.inputs import region_numbers
from coseg.serve.jobs import Job, Limits, Refused
from coseg.serve.uploads import Upload, require_pixels, uploads_of

if TYPE_CHECKING:  # exported graphs need no torch
    from coseg.inference.named_objects import NamedObjects
    from coseg.inference.segmenter import CoSegmenter

FIELDS = {"images": "images", "exemplar": "images", "object": "regions", "name": "texts"}
"""The fields of the form, and what they hold, see `coseg.serve.answers.described_body`."""

UNNAMED = "object"
"""The name of an object without one."""

NO_EXEMPLARS = (
    "The exported graphs of this service can't search for exemplars: ask one that serves a network (coseg-serve "
    "--checkpoint)."
)

_AS = "the object in an exemplar is a mask as file, or x,y,width,height, or x,y, in pixels"


class Shown(NamedTuple):
    """An exemplar.

    Attributes:
        name: of its object.
        photograph: the file.
        region: where the object is: a mask's file, or numbers.
    """

    name: str
    photograph: Upload
    region: Upload | tuple[float, ...]


class Search(NamedTuple):
    """What a request asks for.

    Attributes:
        images: in which the objects are searched for.
        shown: the exemplars of all objects.
        named: whether the objects have names.
    """

    images: list[Upload]
    shown: list[Shown]
    named: bool

    @property
    def uploads(self) -> list[Upload]:
        """All files."""
        masks = [exemplar.region for exemplar in self.shown if isinstance(exemplar.region, Upload)]
        return [*self.images, *(exemplar.photograph for exemplar in self.shown), *masks]


def search_of(form: FormData, limits: Limits) -> Search:
    """The search that a form describes.

    Raises:
        Refused: a field is missing, wrong or not as often there as the others, or there are too many images.
    """
    for key, value in form.multi_items():
        if key not in FIELDS:
            raise Refused(422, f"There is no field '{key[:100]}' here: the fields are {', '.join(FIELDS)}.")
        is_file = isinstance(value, UploadFile)
        if (is_file and key == "name") or (not is_file and FIELDS[key] == "images"):
            raise Refused(422, f"The field '{key}' must be {'text' if is_file else 'a file'}.")
    images, photographs = (uploads_of([f for f in form.getlist(key) if _given(f)]) for key in ("images", "exemplar"))
    regions = [value for value in form.getlist("object") if _given(value)]
    names = [str(value).strip() for value in form.getlist("name") if _given(value)]
    if not images or not photographs:
        raise Refused(422, "Send one image or more in 'images', and one or more that show the object in 'exemplar'.")
    if len(images) + len(photographs) > limits.images:
        count = len(images) + len(photographs)
        raise Refused(413, f"There are {count} images with the exemplars: more than the {limits.images} accepted.")
    if len(regions) != len(photographs):
        raise Refused(
            422, f"There are {len(photographs)} in 'exemplar' and {len(regions)} in 'object': send one for each; {_AS}."
        )
    if names and len(names) != len(photographs):
        raise Refused(422, "Send a 'name' for each exemplar, in their order, or none.")
    places = [_region(region) for region in regions]
    each_name = names or [UNNAMED] * len(photographs)
    return Search(images, [Shown(*shown) for shown in zip(each_name, photographs, places, strict=True)], bool(names))


def find(
    model: CoSegmenter, search: Search, job: Job, limits: Limits, everywhere: bool, threshold: float | None
) -> NamedObjects:
    """Search in a thread: one image or mask is decoded at a time, and kept at its working size at most.

    Raises:
        Refused: an image or a mask is too large.
        CosegError: one can't be used, or the network can't search for exemplars.
        Gone: nobody waits for the answer any longer.
    """
    require_pixels(search.uploads, limits)
    by_name: dict[str, list[Shown]] = {}
    for exemplar in search.shown:
        by_name.setdefault(exemplar.name, []).append(exemplar)

    def read(shown: list[Shown]) -> Iterator[tuple[Any, Any]]:
        for exemplar in shown:
            job.check()
            region: Any = exemplar.region
            if isinstance(region, Upload):
                region = read_mask(Path(region.name), file=region)  # type: ignore[arg-type]
            yield model.encode(exemplar.photograph, "exemplar"), region

    objects_search = model.exemplars({name: read(shown) for name, shown in by_name.items()}, everywhere)
    encoded, results = [], []
    for k, upload in enumerate(search.images):
        job.check()
        image = model.encode(upload, f"image {k + 1}")
        results.append(objects_search.segment_encoded(image, threshold))
        encoded.append(image.without_features())
    return objects_search.gathered(encoded, results)


def _given(value: object) -> bool:
    """Whether a field was filled in: a browser sends those that were not, too."""
    return bool(value.filename or value.size) if isinstance(value, UploadFile) else bool(str(value).strip())


def _region(value: Any) -> Upload | tuple[float, ...]:
    if isinstance(value, UploadFile):
        return uploads_of([value])[0]
    try:
        return region_numbers(str(value))
    except CosegError:
        raise Refused(422, f"'{str(value)[:100]}' is no place of an object: {_AS}.") from None
