"""Image files that would take memory before a pixel is decoded: refused by their sizes, which are looked at alone.

Pillow reads the text, profiles and EXIF of a PNG as a whole, all of a WebP or an AVIF, and each tag of a TIFF.
"""

from __future__ import annotations

import os
import struct
from typing import BinaryIO

MAX_FILE = 2 * 2**30
"""Bytes of a file: 200 million pixels in 16 bits and four channels have 1.6 GB."""

MAX_WHOLE = 256 * 2**20
"""Bytes of a file that is read as a whole; a WebP has 16383 x 16383 pixels at most."""

MAX_CHUNK = 32 * 2**20
"""Bytes of a chunk of a PNG other than its pixels; profiles and previews have up to a few million."""

_PNG = b"\x89PNG\r\n\x1a\n"
_PIXELS = (b"IDAT", b"fdAT")


def check_limits(file: BinaryIO) -> None:
    """Look at an open file, which is left where it was.

    Raises:
        OSError: it is too large, or holds a chunk that is.
    """
    place = file.tell()
    try:
        size = file.seek(0, os.SEEK_END)
        file.seek(0)  # from where Pillow reads, too
        head = file.read(12)
        whole = (head[:4] == b"RIFF" and head[8:] == b"WEBP") or head[4:8] == b"ftyp"
        most = MAX_WHOLE if whole else MAX_FILE
        if size > most:
            raise OSError(f"it has {size:,} bytes, more than the {most:,} of any photograph")
        if head[:8] == _PNG:
            file.seek(len(_PNG))
            _check_chunks(file)
    finally:
        file.seek(place)


def _check_chunks(file: BinaryIO) -> None:
    while len(head := file.read(8)) == 8:
        length, name = struct.unpack(">I4s", head)
        if length > MAX_CHUNK and name not in _PIXELS:
            raise OSError(f"its chunk {name.decode('latin-1')!r} has {length:,} bytes, more than {MAX_CHUNK:,}")
        if name == b"IEND":
            return
        file.seek(length + 4, os.SEEK_CUR)
