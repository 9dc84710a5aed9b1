"""What an image file says beside its pixels: orientation, colour profile and EXIF; colours of a profile in sRGB."""

from __future__ import annotations

import io
from typing import Any

from PIL import ExifTags, Image, ImageCms

from coseg.imaging.read import UNREADABLE

UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""The transposition that makes each EXIF orientation upright; from 5 on it swaps height and width."""

_MAX_PROFILE = 4_000_000  # bytes; a JPEG carries 16 MB at most

_DESCRIBING = (
    270, 271, 272, 282, 283, 296, 305, 306, 315, 316, 33432, 34665, 34853,
)  # fmt: skip
"""Tags of a TIFF that say what it shows, who made it when and with what, and where the rest of the EXIF is."""


def orientation_of(image: Image.Image) -> int:
    """The EXIF orientation, 1 to 8; 1, upright, if it is missing or can't be read."""
    try:
        value = image.getexif().get(ExifTags.Base.Orientation, 1)
    except UNREADABLE:
        return 1
    return value if value in UPRIGHT else 1


def profile_of(image: Image.Image) -> bytes | None:
    """The ICC profile if it is of an RGB space: another one does not fit the result of `as_rgb`.

    A profile that is damaged (wrong length or signature) or larger than a file can hold is left out.
    """
    profile = image.info.get("icc_profile")
    if not isinstance(profile, bytes) or not 128 <= len(profile) <= _MAX_PROFILE:
        return None
    whole = int.from_bytes(profile[:4], "big") == len(profile) and profile[36:40] == b"acsp"
    return profile if whole and profile[16:20] == b"RGB " else None


def exif_of(image: Image.Image) -> bytes | None:
    """The EXIF of a file, without the orientation, which is applied, and without the preview of another picture.

    A TIFF's other tags say how its pixels are stored: of these only those of the photograph itself stay.
    """
    try:
        exif = image.getexif()
        kept = [tag for tag in exif if tag in _DESCRIBING or image.format != "TIFF"]
        copy = Image.Exif()
        copy.load(exif.tobytes())  # while the file is open
        for tag in set(copy) - set(kept) | {ExifTags.Base.Orientation}:
            copy.pop(tag, None)
        return copy.tobytes() if len(copy) else None
    except (*UNREADABLE, AttributeError, AssertionError):  # damaged EXIF
        return None


def converted(image: Image.Image, profile: Any) -> Image.Image:
    """`image` in sRGB; the same image if its profile is that, is of another mode, is damaged, or is missing."""
    if not isinstance(profile, bytes) or not 128 <= len(profile) <= _MAX_PROFILE:
        return image
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if "srgb" in ImageCms.getProfileDescription(source).lower() and image.mode == "RGB":
            return image
        target = ImageCms.createProfile("sRGB")
        in_srgb = ImageCms.profileToProfile(image, source, target, outputMode="RGB")
    except (*UNREADABLE, ImageCms.PyCMSError, ImportError):  # Pillow may be built without LittleCMS
        return image
    assert in_srgb is not None
    in_srgb.info.pop("icc_profile", None)
    return in_srgb
