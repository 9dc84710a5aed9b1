"""HEIC: read where pillow-heif is installed, and a sentence that names the extra where it is not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from facts import mentions
from PIL import Image

from coseg.errors import CosegError
from coseg.imaging import read
from coseg.imaging.read import is_photograph, photograph_size, read_photograph
from coseg.inference.inputs import collect
from coseg.inference.photographs import load_photograph

RGB = np.asarray(Image.fromarray(np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8)).resize((96, 64)))


@pytest.fixture
def heic(tmp_path: Path) -> Path:
    pillow_heif = pytest.importorskip("pillow_heif")
    path = tmp_path / "phone.heic"
    exif = Image.Exif()
    exif[0x0112] = 6
    pillow_heif.from_pillow(Image.fromarray(RGB)).save(path, quality=95, exif=exif.tobytes())
    return path


@pytest.fixture
def without(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(read, "reads_heic", lambda: False)


def test_a_photograph_of_a_phone_is_read_upright(heic: Path) -> None:
    upright = np.rot90(RGB, -1)
    for pixels in (read_photograph(heic), load_photograph(heic).pixels, load_photograph(heic.read_bytes()).pixels):
        assert pixels.shape == upright.shape
        assert np.abs(pixels.astype(int) - upright).mean() < 6
    assert photograph_size(heic) == (96, 64) == load_photograph(heic, 20).size
    assert is_photograph(heic)
    assert collect([str(heic.parent)]).paths == (heic,)


def test_large_and_damaged_ones_get_a_sentence(heic: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = heic.read_bytes()
    for length in (len(whole) // 2, 40):
        heic.write_bytes(whole[:length])
        with pytest.raises(CosegError, match=r"phone\.heic"):
            load_photograph(heic)
    monkeypatch.setattr(read, "MAX_WHOLE", 100)
    heic.write_bytes(whole)
    with pytest.raises(CosegError, match=r"phone\.heic.*100"):
        load_photograph(heic)


@pytest.mark.usefixtures("without")
def test_without_the_package_its_name_is_given(tmp_path: Path) -> None:
    path = tmp_path / "phone.heic"
    path.write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0heicmif1")
    for call in (read_photograph, load_photograph, lambda file: load_photograph(file.read_bytes())):
        with pytest.raises(CosegError) as refused:
            call(path)
        assert mentions(str(refused.value), "HEIC", "pip install 'coseg[heic]'", "JPEG")
    assert not is_photograph(path)
    (problem,) = collect([str(tmp_path)]).problems
    assert mentions(problem, "phone.heic", "coseg[heic]")
