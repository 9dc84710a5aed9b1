"""The download of the page: a zip file with pictures and scores of all photographs, named as by ``coseg-predict``."""

from __future__ import annotations

import secrets
import tempfile
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from coseg.errors import CosegError
from coseg.files.writing import atomic_path, json_text
from coseg.imaging.draw import colour_code, object_colour
from coseg.inference.cosegmentation import Segment, common_scores, image_scores, segment_scores
from coseg.inference.outputs import LABELS, PICTURES, write_labels, write_pictures
from coseg.page.results import OnProgress, PageResult, step

if TYPE_CHECKING:
    from coseg.inference.segmenter import CoSegmenter

ARCHIVE = "coseg.zip"


def write_archive(
    segmenter: CoSegmenter,
    result: PageResult,
    threshold: float,
    model: str,
    folder: Path,
    progress: OnProgress | None = None,
) -> Path:
    """Write the pictures of all photographs, and ``scores.json``, into a zip file in a new folder below `folder`.

    The pictures have the names of those of ``coseg-predict``. The photographs are read again one at a time, so that
    memory holds only one of them.

    Raises:
        CosegError: a photograph was removed in the meantime; the disk is full.
    """
    path = folder / secrets.token_hex(16) / ARCHIVE
    try:
        with (
            atomic_path(path) as temporary,
            tempfile.TemporaryDirectory(dir=path.parent) as pictures,
            zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive,
        ):
            for i in range(len(result.names)):
                step(progress, "Writing", i, result.names)
                _add(archive, result, i, threshold, Path(pictures))
            archive.writestr("scores.json", json_text(scores(segmenter, result, threshold, model)))
    except OSError as error:
        raise CosegError(
            f"The zip file cannot be written ({error.strerror or error}): make room on the disk."
        ) from error
    return path


def _add(archive: zipfile.ZipFile, result: PageResult, i: int, threshold: float, folder: Path) -> None:
    if not result.files[i].exists():
        raise CosegError(f"{result.names[i]} was removed in the meantime, as all uploads are: drop it again.")
    stem, source, segments = Path(result.names[i]).stem, result.files[i], result.segments(i, threshold)
    files: list[Path] = []

    def named(name: str, ending: str) -> Path:
        files.append(folder / name / f"{stem}{ending}")
        return files[-1]

    try:
        if not result.is_of_objects:
            write_pictures(source, segments[0], {picture: named("", end) for picture, end in PICTURES.items()})
        else:
            for shown, segment in zip(result.showing.searched, segments, strict=True):
                pictures = {picture: named(shown.title, end) for picture, end in PICTURES.items()}
                write_pictures(source, segment, pictures, colour=object_colour(shown.number))
            of_all = {"mask": named("", LABELS), "overlay": named("", PICTURES["overlay"])}
            write_labels(source, _by_number(result, segments), of_all)
        for file in files:
            archive.write(file, file.relative_to(folder).as_posix())
    finally:
        for file in files:
            file.unlink(missing_ok=True)


def _by_number(result: PageResult, segments: list[Segment]) -> list[Segment]:
    """A segment for each number up to the last; those of removed objects are empty."""
    numbered = {shown.number: segment for shown, segment in zip(result.showing.searched, segments, strict=True)}
    empty = replace(segments[0], probability=np.zeros_like(segments[0].probability))
    return [numbered.get(number, empty) for number in range(1, max(numbered) + 1)]


def scores(segmenter: CoSegmenter, result: PageResult, threshold: float, model: str) -> dict[str, Any]:
    """The content of ``scores.json``, in the form of ``coseg-predict --json``."""
    about = segmenter.model_scores(model, len(result.names)) | {"threshold": round(threshold, 4)}
    segments = [result.segments(i, threshold) for i in range(len(result.names))]
    if not result.is_of_objects:
        current = replace(result.current, segments=tuple(of_image[0] for of_image in segments))
        return {
            **about,
            **({"calibration": None} if current.exemplars else {}),
            **common_scores(current),
            "images": [image_scores(Path(name), segment) for name, segment in zip(result.names, current, strict=True)],
        }
    objects = result.showing.searched
    return {
        **about,
        "calibration": None,
        "objects": [
            {
                "name": shown.title,
                "label": shown.number,
                "colour": colour_code(shown.number),
                "exemplars": len(shown.exemplars),
                "outside": [i + 1 for i, of_image in enumerate(segments) if not of_image[n].foreground],
            }
            for n, shown in enumerate(objects)
        ],
        "images": [
            {
                "number": i + 1,
                "file": name,
                "width": of_image[0].size[1],
                "height": of_image[0].size[0],
                "objects": {
                    shown.title: segment_scores(segment) for shown, segment in zip(objects, of_image, strict=True)
                },
            }
            for i, (name, of_image) in enumerate(zip(result.names, segments, strict=True))
        ],
    }
