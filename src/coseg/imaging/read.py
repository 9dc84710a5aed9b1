"""Photographs from files, whatever their format and mode: the only place that opens image files with Pillow.

A photograph may be grey, palette, RGB, CMYK, of 10 to 16 bits or with alpha, and turned by its EXIF orientation. Files
that would take much memory before a pixel is decoded are refused by their sizes first: Pillow reads the text, profiles
and EXIF of a PNG as a whole, all of a WebP or an AVIF, and each tag of a TIFF. Masks are in `coseg.imaging.masks`.

HEIC is read by pillow-heif, which the extra ``heic`` installs. UserWarnings of Pillow are ignored from the import of
this module on: they are about damaged metadata, which doesn't keep a photograph from being read.
"""

from __future__ import annotations

import importlib.util
import os
import struct
import warnings
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps

from coseg.errors import DamagedFile
from coseg.files.stored import StoredPath
from coseg.imaging.depth import deepened, eight_bits, note_depth

FORMATS = ("JPEG", "PNG", "WEBP", "AVIF", "TIFF", "BMP", "DIB", "GIF", "JPEG2000", "PPM")
"""The formats, by Pillow's names, that are opened: those that cameras, scanners, browsers and data sets write.

An MPO is opened as a JPEG. Left out are EPS (Pillow runs Ghostscript for it), WMF, formats without a signature (TGA,
PCX), containers of icons and textures (ICO, ICNS, DDS, FTEX), layers (PSD) and what has gone out of use (SGI, FPX,
XPM): each is one more decoder that a damaged or hostile file can reach.
"""

HEIC = "HEIF"
"""The name of the format by pillow-heif; files of phones."""

HEIC_SUFFIXES = frozenset((".heic", ".heics", ".heif", ".hif"))
"""Suffixes of `HEIC` in lower case."""

INSTALL_HEIC = "pip install 'coseg[heic]'"

_HEIC_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1")
"""What follows ``ftyp`` in files that Pillow alone doesn't read; an AVIF may begin with mif1, too."""

SUFFIXES = frozenset(
    (
        ".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".apng", ".webp", ".avif", ".avifs", ".tif", ".tiff", ".bmp",
        ".dib", ".gif", ".jp2", ".j2k", ".j2c", ".jpc", ".jpf", ".jpx", ".ppm", ".pgm", ".pbm", ".pnm", ".pfm",
    )
)  # fmt: skip
"""Suffixes of `FORMATS` in lower case: files of a folder with these are read as images."""

UNREADABLE = (
    OSError, SyntaxError, ValueError, EOFError, RuntimeError, LookupError, TypeError, ArithmeticError, struct.error,
    Image.DecompressionBombError,
)  # fmt: skip
"""What PIL raises for files that are damaged or are no images."""

MAX_FILE = 2 * 2**30
"""Bytes of a file: 200 million pixels in 16 bits and four channels have 1.6 GB."""

MAX_WHOLE = 256 * 2**20
"""Bytes of a file that is read as a whole; a WebP has 16383 x 16383 pixels at most."""

MAX_CHUNK = 32 * 2**20
"""Bytes of a chunk of a PNG other than its pixels; profiles and previews have up to a few million."""

_PNG = b"\x89PNG\r\n\x1a\n"
_PIXELS = (b"IDAT", b"fdAT")

warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")

ALMOST_BLACK, ALMOST_WHITE = 24, 245
"""Nothing can be seen in a picture whose brightest hundredth of pixels is below, or its darkest above."""

_TURNED = (5, 6, 7, 8)  # EXIF orientations that swap height and width
_TIFF_SIZE = (ExifTags.Base.ImageWidth, ExifTags.Base.ImageLength)


class HeicNotInstalled(OSError):
    """A HEIC file, and pillow-heif is not installed."""

    def __init__(self) -> None:
        super().__init__(f"HEIC needs a package that is not installed: {INSTALL_HEIC}, or save it as JPEG or PNG")


def reads_heic() -> bool:
    """Whether pillow-heif is installed; it is not imported."""
    return importlib.util.find_spec("pillow_heif") is not None


def is_photograph(path: Path) -> bool:
    """Whether a file of a folder is read as an image, by its suffix."""
    suffix = path.suffix.lower()
    return suffix in SUFFIXES or (suffix in HEIC_SUFFIXES and reads_heic())


def open_image(file: str | os.PathLike[str] | BinaryIO) -> Image.Image:
    """An image file of one of `FORMATS` with its header read; no other decoder of Pillow ever sees the file.

    HEIC is one more where pillow-heif is installed. An open file must be seekable; it is read from its start.

    Raises:
        HeicNotInstalled: it is a HEIC file, and pillow-heif is not installed.
        OSError: it can't be read, is no regular file (a pipe would be waited for), is of no such format or claims
            absurd sizes; a damaged file raises what is in `UNREADABLE`.
    """
    if isinstance(file, StoredPath):
        file = cast(BinaryIO, file.open("rb"))
    if isinstance(file, str | os.PathLike) and os.path.exists(file) and not os.path.isfile(file):
        raise OSError(f"{file} is not a regular file")
    if isinstance(file, str | os.PathLike):
        with open(file, "rb") as claimed:
            heic = check_limits(claimed)
    else:
        heic = check_limits(file)
    formats = (*FORMATS, HEIC) if heic and _heic_opener() else FORMATS
    try:
        image = Image.open(file, formats=formats)
    except Image.UnidentifiedImageError:
        if heic and not reads_heic():
            raise HeicNotInstalled from None
        raise
    except MemoryError:
        raise OSError("what comes before its pixels does not fit in memory") from None
    note_depth(image)
    return image


def _heic_opener() -> bool:
    """Whether pillow-heif opens HEIC; its own limits of sizes stay on."""
    if not reads_heic():
        return False
    from pillow_heif import register_heif_opener

    register_heif_opener()
    return True


def exposure_note(image: NDArray[np.uint8]) -> str | None:
    """A remark on a picture in which nothing can be seen, to follow "<file> is"; None for other pictures.

    Args:
        image: uint8 (H, W, 3) or (H, W).
    """
    step = max(1, round((image.shape[0] * image.shape[1] / 100_000) ** 0.5))  # enough pixels to count hundredths
    sample = image[::step, ::step]
    if not sample.size:
        return None
    channels = (-1,) if sample.ndim == 3 else ()
    bright = int(np.percentile(sample.max(channels), 99, method="lower"))
    dark = int(np.percentile(sample.min(channels), 1, method="higher"))
    if bright < ALMOST_BLACK:
        return f"almost black: 99 of 100 pixels are at most {bright} of 255"
    if dark > ALMOST_WHITE:
        return f"almost white: 99 of 100 pixels are at least {dark} of 255"
    return None


def read_photograph(path: Path) -> NDArray[np.uint8]:
    """The picture as one sees it, RGB uint8 (H, W, 3): turned as its EXIF says, transparent parts on white.

    Raises:
        CosegError: the file is missing, damaged, no image, or holds no colours (a floating-point picture).
    """
    try:
        with open_image(path) as file:
            return np.array(
                as_rgb(path, ImageOps.exif_transpose(deepened(file, lambda _: open_image(path), nameless=True)))
            )
    except UNREADABLE as error:
        raise damaged(path, error) from error


def photograph_size(path: Path) -> tuple[int, int]:
    """Height and width of `read_photograph`, from the file's header alone.

    Raises:
        CosegError: the file is missing, damaged or no image.
    """
    try:
        with open_image(path) as file:
            width, height = file.size
            if file.format == "TIFF":  # PIL turns it itself; whether the size is turned depends on PIL's version
                width, height = (file.getexif()[tag] for tag in _TIFF_SIZE)
            turned = file.getexif().get(ExifTags.Base.Orientation) in _TURNED
    except UNREADABLE as error:
        raise damaged(path, error) from error
    return (width, height) if turned else (height, width)


def as_rgb(name: str | Path, image: Image.Image) -> Image.Image:
    """A picture of any mode in RGB, transparent parts on white, 16 bits scaled; `name` is for the message.

    Raises:
        CosegError: it holds numbers that are no brightness; see `eight_bits`.
    """
    if image.mode == "F" or image.mode.startswith("I"):
        image = Image.fromarray(eight_bits(name, image))
    if has_alpha(image):
        image = image.convert("RGBA")
        if image.getchannel("A").getextrema()[1] == 0:  # 32-bit BMP: its fourth byte is often unused
            return image.convert("RGB")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    return image.convert("RGB")


def damaged(path: Path, error: Exception) -> DamagedFile:
    """The error for a file that can't be decoded."""
    if path.is_symlink() and not path.exists():
        return DamagedFile(
            f"{path} is a broken link (to {os.readlink(path)}): put back what it leads to, or take the image out of "
            "the data set."
        )
    if isinstance(error, HeicNotInstalled):
        return DamagedFile(f"{path} cannot be decoded: {error}.")
    if isinstance(error, FileNotFoundError):
        return DamagedFile(f"{path} is missing: unpack the archive again, or take the image out of the data set.")
    return DamagedFile(
        f"{path} cannot be decoded ({error}): the file is damaged or not an image. Unpack it again from the archive, "
        "or take the image out of the data set."
    )


def has_alpha(image: Image.Image) -> bool:
    """Whether a picture has an alpha channel, or a colour that is transparent."""
    return image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info


def check_limits(file: BinaryIO) -> bool:
    """Look at an open file, which is left where it was: whether it may be HEIC.

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
        return head[4:8] == b"ftyp" and head[8:] in _HEIC_BRANDS
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
