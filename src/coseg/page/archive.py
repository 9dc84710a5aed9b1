"""Everything that the page shows, as one zip file: masks and cut-outs at the photographs' own size."""

from __future__ import annotations

import json
import secrets
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from coseg.errors import CosegError
from coseg.files import atomic_path
from coseg.inference.outputs import PICTURES, write_pictures
from coseg.inference.scores import common_scores, image_scores, model_scores
from coseg.page.look import Look, Progress

if TYPE_CHECKING:
    from coseg.inference.segmenter import CoSegmenter

NAME = "coseg.zip"


def write_archive(
    segmenter: CoSegmenter, look: Look, threshold: float, model: str, folder: Path, progress: Progress | None = None
) -> Path:
    """Write the pictures of all photographs, and ``scores.json``, into a zip file in a new folder below `folder`.

    Pictures are named as those of ``coseg-predict``. The photographs are read again one at a time, so that memory
    holds no more than one of them.

    Raises:
        CosegError: a photograph was removed in the meantime; the disk is full.
    """
    path = folder / secrets.token_hex(16) / NAME
    try:
        with atomic_path(path) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:
            for i, name in enumerate(look.names):
                if progress is not None:
                    progress(i, len(look.names), name)
                _add(archive, look, i, threshold, path.parent)
            archive.writestr("scores.json", _json(scores(segmenter, look, threshold, model)))
    except OSError as error:
        raise CosegError(
            f"The zip file cannot be written ({error.strerror or error}): make room on the disk."
        ) from error
    return path


def _add(archive: zipfile.ZipFile, look: Look, i: int, threshold: float, folder: Path) -> None:
    if not look.files[i].exists():
        raise CosegError(f"{look.names[i]} was removed in the meantime, as all files are: drop the photographs again.")
    stem = Path(look.names[i]).stem
    files = {kind: folder / f"{stem}{ending}" for kind, ending in PICTURES.items()}
    try:
        write_pictures(look.files[i], replace(look.result.segments[i], threshold=threshold), files)
        for file in files.values():
            archive.write(file, file.name)
    finally:
        for file in files.values():
            file.unlink(missing_ok=True)


def _json(document: dict[str, Any]) -> str:
    return json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def scores(segmenter: CoSegmenter, look: Look, threshold: float, model: str) -> dict[str, Any]:
    """What ``scores.json`` holds, as ``coseg-predict --json`` writes it."""
    images = zip(look.names, look.result, strict=True)
    return {
        **model_scores(segmenter, model, len(look.result)),
        "threshold": round(threshold, 4),
        **common_scores(look.result),
        "images": [image_scores(Path(name), replace(segment, threshold=threshold)) for name, segment in images],
    }
