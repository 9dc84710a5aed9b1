"""Uploaded files; what is refused is tested by the endpoints, in test_serve_app.py."""

from __future__ import annotations

import tempfile

import numpy as np
import pytest
from fake_service import picture

from coseg.errors import CosegError
from coseg.inference.photographs import load_photograph
from coseg.serve.jobs import Limits, Refused
from coseg.serve.uploads import Upload, require_pixels


@pytest.mark.parametrize("form", ["PNG", "JPEG", "TIFF", "WEBP"])
def test_an_upload_is_a_photograph_with_its_name(form: str) -> None:
    with tempfile.SpooledTemporaryFile(max_size=100) as file:
        file.write(picture(form=form))
        upload = Upload(file, "a.png")
        require_pixels([upload], Limits())
        photograph = load_photograph(upload, 32, "image 1")
    assert photograph.name == "a.png" and photograph.size == (30, 40)
    assert np.argmax(photograph.pixels[8, :, 0] > 128) == 8  # 10 at a width of 40


def test_pixels_are_counted_before_decoding() -> None:
    with tempfile.SpooledTemporaryFile() as file:
        file.write(picture(width=200, height=100)[:200])  # its pixels are missing
        with pytest.raises(Refused) as refused:
            require_pixels([Upload(file, "a.png")], Limits(megapixels=0.01))
        assert refused.value.status == 413
    with tempfile.SpooledTemporaryFile() as file:
        file.write(b"nothing")
        with pytest.raises(CosegError, match=r"a\.png"):
            require_pixels([Upload(file, "a.png")], Limits())
