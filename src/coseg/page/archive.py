"""Everything that the page shows at the photographs' own size, as one zip file."""

from __future__ import annotations

import json
import math
import secrets
import zipfile
from pathlib import Path
from typing import Any

from PIL import Image

import coseg
from coseg.errors import CosegError
from coseg.files import atomic_path
from coseg.inference.outputs import cutout_of, overlay_of
from coseg.inference.photographs import load_photograph
from coseg.page.look import Look

NAME = "coseg.zip"


def write_archive(look: Look, threshold: float, model: str, folder: Path) -> Path:
    """Write masks, overlays, cut-outs and ``scores.json`` into a zip file in a new folder below `folder`; its path.

    The photographs are read again one at a time, so that memory holds no more than one of them.

    Raises:
        CosegError: a photograph was removed in the meantime; the file cannot be written.
    """
    path = folder / secrets.token_hex(16) / NAME
    try:
        with atomic_path(path) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:
            for i in range(len(look.files)):
                _add(archive, look, i, threshold)
            with archive.open("scores.json", "w") as file:
                file.write((json.dumps(scores(look, threshold, model), indent=2, ensure_ascii=False) + "\n").encode())
    except OSError as error:
        raise CosegError(f"The zip file cannot be written ({error.strerror or error}): make room on the disk.") from error
    return path


def _add(archive: zipfile.ZipFile, look: Look, i: int, threshold: float) -> None:
    if not look.files[i].exists():
        raise CosegError(f"{look.names[i]} was removed in the meantime, as all files are: drop the photographs again.")
    pixels = load_photograph(look.files[i]).pixels
    mask = look.result.segments[i].mask(threshold)
    stem = Path(look.names[i]).stem
    for name, image in (
        (f"masks/{stem}.png", Image.fromarray(mask).convert("L")),
        (f"overlays/{stem}.png", overlay_of(pixels, mask)),
        (f"cutouts/{stem}.png", cutout_of(pixels, mask)),
    ):
        with archive.open(name, "w", force_zip64=True) as file:
            image.save(file, "PNG")


def scores(look: Look, threshold: float, model: str) -> dict[str, Any]:
    """What ``scores.json`` holds: `common` is null for a model without calibration."""
    result = look.result
    return {
        "coseg": coseg.__version__,
        "model": model,
        "threshold": round(threshold, 4),
        "common": None if math.isnan(result.common) else round(result.common, 4),
        "shares": result.shares,
        "images": [
            {
                "name": name,
                "height": segment.size[0],
                "width": segment.size[1],
                "foreground": round(float(look.mask(i, threshold).mean()), 4),
                "confidence": round(segment.confidence, 4),
            }
            for i, (name, segment) in enumerate(zip(look.names, result.segments, strict=True))
        ],
    }
