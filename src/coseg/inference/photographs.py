"""Photographs from anywhere, as a person sees them: files, PIL images, arrays or tensors, at a working size."""

from __future__ import annotations

import sys
import threading
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image

from coseg.data.images import UNREADABLE, as_rgb, open_image
from coseg.errors import CosegError

MAX_PIXELS = 200_000_000
"""More are refused before decoding: a small file can unpack to an image that fills the memory."""

MIN_SIDE = 2
"""Pixels a side that an image must have at least."""

_MOVING = {"GIF", "PNG", "WEBP", "AVIF", "TIFF"}
"""Formats whose second frame is a picture of its own; that of an MPO is a preview, that of a PSD a layer."""

_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What brings each EXIF orientation upright; from 5 on it swaps height and width."""

_DRAFT = 2
"""A JPEG is decoded at least this many times larger than wanted, so that the rest of the way is filtered well."""

_opening = threading.Lock()


class Photograph(NamedTuple):
    """A picture in RGB, upright, perhaps smaller than its original.

    Attributes:
        pixels: uint8 (h, w, 3), 0..255; transparent parts are white.
        size: (H, W) of the original in pixels, as one sees it: EXIF's orientation applied.
        name: of its file, without folders, or what it was called instead.
        profile: of its colours, as ICC has it, to be written into what is made of it; None: sRGB, as far as is known.
    """

    pixels: NDArray[np.uint8]
    size: tuple[int, int]
    name: str
    profile: bytes | None = None


Source = str | Path | Image.Image | NDArray[Any] | Photograph | Any
"""What a photograph can be loaded from; a tensor is the last, so that nothing here imports torch."""


def load_photograph(source: Source, longest: int | None = None, name: str = "image 1") -> Photograph:
    """A photograph from a file or from memory.

    Args:
        source: a path; a PIL image; an array (H, W), (H, W, 1), (H, W, 3) or (H, W, 4); a tensor (1, H, W), (3, H, W)
            or (4, H, W). Arrays and tensors are uint8 in 0..255 or floating point in 0..1. A `Photograph` is taken as
            it is.
        longest: the longer side of `pixels`, at most; smaller pictures stay as they are. JPEG files are decoded near
            this size, which saves time and memory. None: the original size.
        name: what to call a source that has no file name, here and in sentences.

    Raises:
        CosegError: the file is missing, not an image, damaged or animated; the picture has fewer than `MIN_SIDE`
            pixels a side or more than `MAX_PIXELS` (told by the header, before decoding); the array is no picture.
    """
    if longest is not None and longest < 1:
        raise CosegError(f"The size is {longest}, but must be a positive number of pixels.")
    if isinstance(source, Photograph):
        image = _shrunk(Image.fromarray(source.pixels), longest)
        return source._replace(pixels=np.asarray(image))
    if isinstance(source, str | Path):
        return _from_file(Path(source).expanduser(), longest)
    if isinstance(source, Image.Image):
        called = Path(str(getattr(source, "filename", "") or name)).name
        return _decoded(source, called, called, longest)
    values = _values(source, name)
    _check_size(name, values.shape[1], values.shape[0])
    return _decoded(Image.fromarray(_in_bytes(values, name)), name, name, longest)


def _from_file(path: Path, longest: int | None) -> Photograph:
    with closing(_opened(path)) as file:
        draft = None if longest is None else _DRAFT * longest
        return _decoded(file, str(path), path.name, longest, draft)


def _opened(path: Path) -> Image.Image:
    """The file with its header read.

    PIL warns of large images and refuses larger ones by a limit of its own; ours is checked right after.
    """
    if path.is_dir():
        raise CosegError(f"{path} is a folder: give an image.")
    if path.exists() and not path.is_file():  # a pipe, which would be waited for
        raise CosegError(f"{path} is not a file: give an image.")
    try:
        with _opening:
            limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
            try:
                return open_image(path)
            finally:
                Image.MAX_IMAGE_PIXELS = limit
    except FileNotFoundError:
        raise CosegError(f"{path} is missing: check its name.") from None
    except PermissionError as error:
        raise CosegError(f"{path} cannot be read ({error.strerror}): check its permissions.") from None
    except UNREADABLE as error:
        raise CosegError(f"{path} is not an image that can be read{_advice(path, error)}") from error


def _advice(path: Path, error: Exception) -> str:
    if path.suffix.lower() in (".heic", ".heif"):
        return ": HEIC needs a decoder that is not here. Save it as JPEG or PNG."
    if not isinstance(error, Image.UnidentifiedImageError):
        return f" ({error}): save it again as JPEG or PNG, or leave it out."
    return ": save it as JPEG or PNG, or leave it out."


def _decoded(image: Image.Image, where: str, name: str, longest: int | None, draft: int | None = None) -> Photograph:
    """The photograph in an open file or a PIL image, which stays as it is; a file may be decoded near `draft`."""
    _check(image, where)
    width, height = image.size
    try:
        if draft is not None:  # JPEG has smaller sizes at hand; for all others it does nothing
            image.draft(None, (draft, draft))
        image.load()
        if image.format == "TIFF":  # PIL has turned it, and took its orientation away
            width, height = image.size
        orientation = _orientation(image)
        plain = image.mode == "RGB" and "transparency" not in image.info
        shrunk = _shrunk(image if plain else as_rgb(where, image), longest)
    except MemoryError:
        raise CosegError(f"{where} does not fit in memory, {width:,} x {height:,} pixels: make it smaller.") from None
    except UNREADABLE as error:
        raise CosegError(
            f"{where} cannot be decoded ({error}): the file is damaged or cut short. Copy it again from where it came, "
            "or leave it out."
        ) from error
    upright = shrunk.transpose(_UPRIGHT[orientation]) if orientation in _UPRIGHT else shrunk
    size = (width, height) if orientation >= 5 else (height, width)
    return Photograph(np.array(upright), size, name, _profile(image))


def _check(file: Image.Image, where: str) -> None:
    """Refuse by its header what is not taken."""
    _check_size(where, *file.size)
    try:
        frames = getattr(file, "n_frames", 1) if file.format in _MOVING else 1
    except UNREADABLE as error:
        raise CosegError(f"{where} cannot be decoded ({error}): the file is damaged or cut short.") from error
    if frames > 1:
        raise CosegError(
            f"{where} is animated or has several pages ({frames} pictures): save the one that you mean as JPEG or PNG."
        )


def _check_size(where: str, width: int, height: int) -> None:
    if width < MIN_SIDE or height < MIN_SIDE:
        raise CosegError(f"{where} is {width} x {height} pixels: it must have at least {MIN_SIDE} a side.")
    if width * height > MAX_PIXELS:
        raise CosegError(
            f"{where} is {width:,} x {height:,} pixels, {width * height / 1e6:,.0f} megapixels: more than "
            f"{MAX_PIXELS / 1e6:.0f} are refused, since they may not fit in memory. Make it smaller."
        )


def _orientation(image: Image.Image) -> int:
    """EXIF's orientation, 1 to 8; 1, upright, where there is none that can be read, as viewers take it."""
    try:
        value = image.getexif().get(ExifTags.Base.Orientation, 1)
    except UNREADABLE:
        return 1
    return value if value in _UPRIGHT else 1


def _profile(image: Image.Image) -> bytes | None:
    """The ICC profile, where it is one of RGB: that of another space does not fit what `as_rgb` makes."""
    profile = image.info.get("icc_profile")
    return profile if isinstance(profile, bytes) and profile[16:20] == b"RGB " else None


def _shrunk(image: Image.Image, longest: int | None) -> Image.Image:
    """An RGB image whose longer side is at most `longest`, its shape kept, bilinear with antialiasing."""
    scale = 1.0 if longest is None else longest / max(image.size)
    if scale >= 1:
        return image
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    return image.resize(size, Image.Resampling.BILINEAR, reducing_gap=3.0)


def _values(source: Any, name: str) -> NDArray[Any]:
    """An array or a tensor as (H, W), (H, W, 3) or (H, W, 4)."""
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(source, torch.Tensor):
        tensor = source.detach().cpu()
        values = (tensor.float() if tensor.is_floating_point() else tensor).numpy()
        if values.ndim != 3 or values.shape[0] not in (1, 3, 4):
            raise CosegError(f"{name} is a tensor of shape {values.shape}, but must be (3, height, width), one image.")
        values = np.moveaxis(values, 0, -1)
    elif isinstance(source, np.ndarray):
        values = source
        if values.ndim != 2 and (values.ndim != 3 or values.shape[-1] not in (1, 3, 4)):
            raise CosegError(f"{name} is an array of shape {values.shape}, but must be (height, width, 3), one image.")
    else:
        raise CosegError(f"{name} is a {type(source).__name__}, but must be a path, a PIL image, an array or a tensor.")
    return values[..., 0] if values.ndim == 3 and values.shape[-1] == 1 else values


def _in_bytes(values: NDArray[Any], name: str) -> NDArray[np.uint8]:
    if values.dtype == np.uint8:
        return np.ascontiguousarray(values)
    if not np.issubdtype(values.dtype, np.floating):
        raise CosegError(f"{name} holds {values.dtype}, but must be uint8 in 0..255 or floating point in 0..1.")
    if values.size and not (values.min() >= 0 and values.max() <= 1):  # not a number fails as well
        raise CosegError(f"{name} holds floating-point numbers outside of 0..1: divide them by 255.")
    return np.ascontiguousarray(values * np.float32(255) + 0.5).astype(np.uint8)
