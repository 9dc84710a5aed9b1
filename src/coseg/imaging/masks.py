"""Binary masks from files: what their values mean is read from the values, or the mask is refused.

A mask is one of these, in any mode (1-bit, grey, 16-bit, floating point, palette, RGB, or the alpha of a cut-out):

- two values: the lower is background, the higher the object; two colours: black is background.
- two values whose edges are blurred, by JPEG or by resizing: the object is from half of the range on.
- 0, 1 and 255 (or 65535): background, object and void, the pixels to be ignored. 1 and 255 alone are object and void.
- one value: 0 is a mask without the object; 1, 255 or 65535 one whose object fills the image.

0 and 255 alone, or 255 alone, are void where other masks of the group are 0, 1 and 255: the argument `void`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from coseg.errors import CosegError
from coseg.imaging.depth import deepened
from coseg.imaging.read import UNREADABLE, damaged, has_alpha, open_image
from coseg.labels import VOID

_VOC_VOID = (224, 224, 192)  # the colour of label 255 in VOC's palette
_TOPS = (255, 65535)  # the highest values of 8 and 16 bits
_FEW = 16  # values, or fewer, that are laid flat are labels
_RANGE = 64  # between the lowest and the highest value of a blurred mask, at least, of 255
_BLURRED = 0.5  # share of a mask's pixels that may lie at blurred edges
_COLOURED = ("P", "PA", "RGB", "RGBA", "RGBa", "LA", "La")
_LISTED = 10  # values in a sentence
_PIECE = 2**20  # values that are looked up at once
_MIXED = 0.05  # share of the object's pixels from which a second colour is no accident of JPEG

_LABELS = (
    "A mask has two values (the lower is background, the higher the object), or 0, 1 and 255, which is void. Masks "
    "that number several classes are read in the layout of VOC: dataset=voc dataset.split_val=false."
)


def read_mask(path: Path, void: bool = False, file: BinaryIO | None = None) -> NDArray[np.uint8]:
    """A binary mask, uint8 (H, W): 1 foreground, 0 background, 255 void.

    Args:
        path: the file.
        void: 255 is void, though this mask alone does not show it: another one of its group has 0, 1 and 255.
        file: the open file in place of that at `path`, which is its name in messages.

    Raises:
        CosegError: the file is missing, damaged or no image; or its values are not those of a mask, and are listed.
    """
    try:
        with open_image(path if file is None else file) as image:
            lossy = image.format in ("JPEG", "MPO")
            deep = deepened(image, lambda _: open_image(path), nameless=file is None)
            return _mask(path, ImageOps.exif_transpose(deep), lossy, void)
    except UNREADABLE as error:
        raise damaged(path, error) from error


def _mask(path: Path, image: Image.Image, lossy: bool, void: bool) -> NDArray[np.uint8]:
    if image.mode == "P" and _label_indices(image):
        return np.array(image)
    if has_alpha(image) and image.mode in _COLOURED:  # in a grey mask a transparent value is a value like others
        alpha = np.array(image.convert("RGBA").getchannel("A"))
        if alpha.min() < alpha.max():
            return _of_alpha(image, alpha)
    if image.mode in ("1", "L", "F") or image.mode.startswith("I"):
        return _of_values(path, np.array(image), lossy, void)
    return _of_colours(path, np.asarray(image if image.mode == "RGB" else image.convert("RGB")), lossy, void)


def _label_indices(image: Image.Image) -> bool:
    """Whether the indices of a palette are 0, 1 and 255: background, object and void in any colours."""
    return np.flatnonzero(image.histogram()).tolist() == [0, 1, VOID]


def _of_alpha(image: Image.Image, alpha: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A cut-out: its alpha, from half on."""
    mask = (alpha > (int(alpha.min()) + int(alpha.max())) // 2).view(np.uint8)
    if image.mode == "P":  # a label map whose background is transparent
        mask[(np.array(image.convert("RGB")) == _VOC_VOID).all(-1) & (mask == 1)] = VOID
    return mask


def _of_values(path: Path, values: NDArray[Any], lossy: bool, void: bool) -> NDArray[np.uint8]:
    """The mask in numbers (H, W) of any type; of large images copies of other types would take gigabytes."""
    numbers = values.view(np.uint8) if values.dtype.kind == "b" else values
    present = _present(numbers)
    if not present.size:
        raise CosegError(f"{path} has no pixels.")
    low, high = float(present[0]), float(present[-1])
    if not (low >= 0 and high < float("inf")):  # not a number fails as well
        raise _refused(path, present)
    of_labels = high in _TOPS and not lossy and np.isin(present, (0, 1, high)).all()
    if of_labels and (void or (1 in present and len(present) > 1)):
        return np.where(numbers == high, VOID, numbers).astype(np.uint8)
    if len(present) == 1:
        if low not in (0, 1, *_TOPS):
            raise _refused(path, present)
        return np.full(numbers.shape, low > 0, np.uint8)
    if len(present) > 2 and not _is_blurred(numbers, present, lossy):
        raise _refused(path, present)
    return (numbers > (low + high) / 2).view(np.uint8)


def _is_blurred(numbers: NDArray[Any], present: NDArray[Any], lossy: bool) -> bool:
    """Whether a mask of three or more values is one of two whose edges are blurred."""
    low, high = float(present[0]), float(present[-1])
    extent = high - low
    if extent < _RANGE * (1 if high > 1 else 1 / 255):
        return False
    if len(present) <= _FEW and not lossy:  # the values between must be of edges, no areas
        return len(present) > 3 and bool(np.isin(_flat_values(numbers), (low, high)).all())
    between = (numbers > low + extent / 4) & (numbers < high - extent / 4)
    return float(between.mean()) <= _BLURRED


def _of_colours(path: Path, rgb: NDArray[np.uint8], lossy: bool, void: bool) -> NDArray[np.uint8]:
    """The mask in colours (H, W, 3): black is background, one colour the object, VOC's void is void."""
    red, green, blue = rgb[..., 0], rgb[..., 1], rgb[..., 2]
    if np.array_equal(red, green) and np.array_equal(red, blue):
        return _of_values(path, red, lossy, void)
    codes = red.astype(np.int32)
    for channel in (green, blue):
        codes <<= 8
        codes |= channel
    ignored = -1 if lossy else _VOC_VOID[0] << 16 | _VOC_VOID[1] << 8 | _VOC_VOID[2]
    present = _occurring(codes, 1 << 24)
    colours = present[(present != 0) & (present != ignored)]
    if len(colours) == 1:
        mask = (codes == colours[0]).view(np.uint8)
        mask[codes == ignored] = VOID
        return mask
    if len(present) <= _FEW and not lossy and (len(colours) == 2 or np.count_nonzero(_flat_values(codes)) > 1):
        raise _refused(path, present, "colours")
    del codes
    bright = rgb.max(-1)
    half, lit = bright // 2, bright >= 128
    hues = np.zeros(bright.shape, np.uint8)
    for channel in (red, green, blue):
        hues <<= 1
        hues |= channel > half
    counts = np.sort([np.count_nonzero((hues == hue) & lit) for hue in range(8)])
    if counts[-2] > _MIXED * counts.sum():  # two colours of objects, or more
        raise _refused(path, present, "colours")
    return _of_values(path, bright, lossy, void=False)


def _present(numbers: NDArray[Any]) -> NDArray[Any]:
    """The different values, ascending."""
    if numbers.dtype.kind in "iu" and numbers.size and numbers.min() >= 0 and numbers.max() <= _TOPS[-1]:
        return _occurring(numbers, _TOPS[-1] + 1)
    return np.unique(numbers)


def _occurring(numbers: NDArray[Any], limit: int) -> NDArray[np.int64]:
    """The different values of integers 0..`limit` - 1, ascending, without sorting; piece by piece, since NumPy makes
    indices of 8 bytes of them."""
    seen = np.zeros(limit, bool)
    flat = numbers.reshape(-1)
    for start in range(0, flat.size, _PIECE):
        seen[flat[start : start + _PIECE]] = True
    return np.flatnonzero(seen)


def _flat_values(numbers: NDArray[Any]) -> NDArray[Any]:
    """The values that fill a square of 3 x 3 pixels somewhere, as areas do and edges don't."""
    height, width = numbers.shape
    if min(height, width) < 3:
        return _present(numbers)
    centre = numbers[1:-1, 1:-1]
    flat = np.ones(centre.shape, bool)
    for y in range(3):
        for x in range(3):
            flat &= numbers[y : height - 2 + y, x : width - 2 + x] == centre
    return _present(centre[flat])


def _refused(path: Path, present: NDArray[Any], what: str = "values") -> CosegError:
    """The sentence about the different values, or the codes of colours, of which only a few are named."""

    def named(value: Any) -> str:
        code = int(value) if what == "colours" else 0
        return f"({code >> 16}, {code >> 8 & 255}, {code & 255})" if what == "colours" else f"{float(value):g}"

    shown, rest = ", ".join(map(named, present[:_LISTED])), ""
    if len(present) > _LISTED:
        rest = f", … {named(present[-1])} ({len(present)} different ones)"
    return CosegError(f"{path} is no mask of one object: it holds the {what} {shown}{rest}. {_LABELS}")
