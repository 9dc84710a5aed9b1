import tracemalloc

import numpy as np
import pytest
from facts import naming
from PIL import Image

from coseg.errors import CosegError
from coseg.imaging.masks import read_mask


def saved(tmp_path, image, name, **options):
    path = tmp_path / name
    image.save(path, **options)
    return path


MASK = np.zeros((40, 60), bool)
MASK[10:30, 15:45] = True
RED, BLACK, WHITE = (255, 0, 0), (0, 0, 0), (255, 255, 255)


def palette(indices, colours):
    image = Image.fromarray(indices.astype(np.uint8))
    image.putpalette([value for colour in colours for value in colour])
    return image


def cut_out():
    return np.dstack((np.full((*MASK.shape, 3), 90, np.uint8), np.where(MASK, 255, 0).astype(np.uint8)))


@pytest.mark.parametrize(
    "image",
    [
        pytest.param(Image.fromarray(MASK), id="1-bit"),
        pytest.param(Image.fromarray(np.where(MASK, 255, 0).astype(np.uint8)), id="grey"),
        pytest.param(Image.fromarray(MASK.astype(np.uint8)), id="labels 0 and 1"),
        pytest.param(Image.fromarray(np.where(MASK, 65535, 0).astype(np.uint16)), id="16 bit"),
        pytest.param(Image.fromarray(np.where(MASK[..., None], RED, BLACK).astype(np.uint8)), id="red on black"),
        pytest.param(palette(MASK, [BLACK, (128, 0, 0)]), id="palette in colour"),
        pytest.param(palette(~MASK, [WHITE, BLACK]), id="palette, white first"),
        pytest.param(palette(MASK, [BLACK, (1, 1, 1)]), id="palette in grey, of labels 0 and 1"),
        pytest.param(Image.fromarray(cut_out()), id="alpha"),
        pytest.param(
            Image.fromarray(
                np.dstack((*[np.where(MASK, 255, 0).astype(np.uint8)] * 3, np.full(MASK.shape, 255, np.uint8)))
            ),
            id="alpha that is the same everywhere",
        ),
    ],
)
def test_masks_of_every_mode(tmp_path, image):
    found = read_mask(saved(tmp_path, image, "m.png"))
    assert found.dtype == np.uint8
    assert np.array_equal(found, MASK.astype(np.uint8))


def test_edges_that_jpeg_blurred_fall_at_half(tmp_path):
    path = saved(tmp_path, Image.fromarray(np.where(MASK, 255, 0).astype(np.uint8)), "m.jpg", quality=40)
    with Image.open(path) as file:
        values = np.array(file)
    assert len(np.unique(values)) > 2
    assert np.array_equal(read_mask(path), (values >= 128).astype(np.uint8))
    assert (read_mask(path) != MASK).mean() < 0.02


def test_the_void_of_voc_stays_void(tmp_path):
    indices = MASK.astype(np.uint8)
    indices[0] = 2
    found = read_mask(saved(tmp_path, palette(indices, [BLACK, (128, 0, 0), (224, 224, 192)]), "m.png"))
    assert (found[0] == 255).all()
    assert np.array_equal(found[1:], MASK[1:])


def values_of(*values):
    """A mask of areas of such values, one column beside the other."""
    return np.repeat(np.repeat(np.array(values), 12)[None], 30, 0)


def read(tmp_path, values, suffix="png", void=False, dtype=np.uint8):
    return read_mask(saved(tmp_path, Image.fromarray(np.asarray(values).astype(dtype)), f"m.{suffix}"), void)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("suffix", ["png", "tif", "bmp"])
def test_the_ignored_ring_is_void_and_one_is_the_object(tmp_path, dtype, suffix):
    if suffix == "bmp" and dtype is np.uint16:
        return
    values = values_of(0, 255, 1, 255, 0)
    assert np.array_equal(read(tmp_path, values, suffix, dtype=dtype), values)
    if dtype is np.uint16:
        assert np.array_equal(read(tmp_path, np.where(values == 255, 65535, values), suffix, dtype=dtype), values)


@pytest.mark.parametrize(
    "image",
    [
        pytest.param(lambda v: Image.fromarray(np.dstack([v] * 3)), id="grey in RGB"),
        pytest.param(lambda v: Image.fromarray(np.dstack((v, v, v, np.full_like(v, 255)))), id="opaque alpha"),
        pytest.param(lambda v: Image.fromarray(np.dstack((v, np.full_like(v, 255))), "LA"), id="LA"),
        pytest.param(lambda v: palette(v, [BLACK, RED, *[WHITE] * 254]), id="palette"),
        pytest.param(lambda v: palette(v, [(k, k, k) for k in range(256)]), id="grey palette"),
        pytest.param(lambda v: palette(v, [BLACK, WHITE, *[(128, 128, 128)] * 254]), id="palette, void in grey"),
    ],
)
def test_the_ignored_ring_in_every_mode(tmp_path, image):
    values = values_of(0, 255, 1, 255, 0).astype(np.uint8)
    assert np.array_equal(read_mask(saved(tmp_path, image(values), "m.png")), values)


@pytest.mark.parametrize("options", [{"transparency": 0}, {}])
def test_a_transparent_background_leaves_the_ring_void(tmp_path, options):
    values = values_of(0, 255, 1, 0).astype(np.uint8)
    for image in (Image.fromarray(values), palette(values, [BLACK, RED, *[WHITE] * 254])):
        assert np.array_equal(read_mask(saved(tmp_path, image, "m.png", **options)), values)
    voc = palette(values_of(0, 2, 1, 0), [BLACK, (128, 0, 0), (224, 224, 192)])
    assert np.array_equal(read_mask(saved(tmp_path, voc, "m.png", **options)), values)


@pytest.mark.parametrize("low_high", [(0, 100), (0, 3), (7, 9), (0, 254), (100, 200), (1, 254)])
def test_of_any_two_values_the_higher_is_the_object(tmp_path, low_high):
    low, high = low_high
    assert np.array_equal(read(tmp_path, values_of(low, high, low)), values_of(0, 1, 0))


def test_what_one_mask_alone_leaves_open(tmp_path):
    assert np.array_equal(read(tmp_path, values_of(0, 255)), values_of(0, 1))
    assert np.array_equal(read(tmp_path, values_of(1, 255)), values_of(1, 255))  # 1 is background in no convention
    # beside masks of 0, 1 and 255
    assert np.array_equal(read(tmp_path, values_of(0, 255), void=True), values_of(0, 255))
    assert np.array_equal(read(tmp_path, values_of(255), void=True), values_of(255))
    assert np.array_equal(read(tmp_path, values_of(1), void=True), values_of(1))
    assert np.array_equal(read(tmp_path, values_of(0, 1), void=True), values_of(0, 1))


@pytest.mark.parametrize(("value", "truth"), [(0, 0), (1, 1), (255, 1)])
def test_masks_of_one_value(tmp_path, value, truth):
    assert np.array_equal(read(tmp_path, values_of(value)), values_of(truth))


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ((0, 1, 2, 3), "0, 1, 2, 3"),
        ((0, 1, 2), "0, 1, 2"),
        ((0, 1, 2, 255), "0, 1, 2, 255"),
        ((0, 15, 255), "0, 15, 255"),
        ((0, 128, 255), "0, 128, 255"),
        ((0, 5, 15, 255), "0, 5, 15, 255"),
        ((128,), "128"),
        (tuple(range(12)), r"0, 1, 2.*… 11 \(12 different"),
    ],
)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_label_maps_are_refused_with_their_values(tmp_path, values, named, dtype):
    with pytest.raises(CosegError, match=rf"m\.png .*values {named}.*dataset=voc"):
        read(tmp_path, values_of(*values), dtype=dtype)


@pytest.mark.parametrize("colours", [[BLACK, RED, (0, 255, 0)], [WHITE, RED], [BLACK, (128, 0, 0), (192, 0, 0)]])
@pytest.mark.parametrize("mode", ["P", "RGB"])
def test_label_maps_in_colours_are_refused(tmp_path, colours, mode):
    image = palette(values_of(*range(len(colours))), colours).convert(mode)
    with pytest.raises(CosegError, match=r"m\.png .*colours \("):
        read_mask(saved(tmp_path, image, "m.png"))
    if mode == "RGB" and colours[0] == BLACK and colours[1] == RED:
        with pytest.raises(CosegError, match=r"m\.jpg .*colours \("):
            read_mask(saved(tmp_path, image, "m.jpg", subsampling=0))


def test_masks_in_dark_colours_and_antialiased(tmp_path):
    dark = Image.fromarray(np.where(MASK[..., None], (0, 0, 90), BLACK).astype(np.uint8))
    assert np.array_equal(read_mask(saved(tmp_path, dark, "m.png")), MASK)
    for large in (Image.fromarray(np.where(MASK, 255, 0).astype(np.uint8)), dark.point(lambda value: value * 2)):
        turned = large.resize((600, 400)).rotate(7, Image.Resampling.BICUBIC)
        small = turned.resize((60, 40), Image.Resampling.BOX)
        mask = read_mask(saved(tmp_path, small, "m.png"))
        bright = np.array(small) if small.mode == "L" else np.array(small)[..., 2]
        assert np.array_equal(mask, 2 * bright.astype(int) > bright.max())


def test_a_photograph_is_no_mask(tmp_path):
    with pytest.raises(CosegError, match=naming("m.png", "no mask")):
        read(tmp_path, np.random.default_rng(0).normal(120, 40, (50, 50)).clip(0, 255))


def test_masks_of_floating_point_numbers(tmp_path):
    assert np.array_equal(read(tmp_path, values_of(0, 1, 0), "tif", dtype=np.float32), values_of(0, 1, 0))
    with pytest.raises(CosegError, match=naming("m.tif", "no mask")):
        read(tmp_path, values_of(0, np.nan, 0), "tif", dtype=np.float32)


def test_many_colours_are_refused_in_little_memory(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (1000, 1500, 3), np.uint8)
    path = saved(tmp_path, Image.fromarray(pixels), "m.bmp")
    tracemalloc.start()
    try:
        with pytest.raises(CosegError, match=r"… \(255, \d+, \d+\) \(\d{7} different") as caught:
            read_mask(path)
        assert tracemalloc.get_traced_memory()[1] < 2**24 + 25 * 1000 * 1500  # bytes
    finally:
        tracemalloc.stop()
    assert len(str(caught.value)) < 700


def test_numbers_of_any_type(tmp_path):
    for dtype in (np.int32, np.uint16, np.float32):
        assert np.array_equal(read(tmp_path, values_of(0, 60000, 0), "tif", dtype=dtype), values_of(0, 1, 0))
    assert np.array_equal(read(tmp_path, values_of(0, 2**31 - 1, 0), "tif", dtype=np.int32), values_of(0, 1, 0))
    with pytest.raises(CosegError, match="values -5, 3"):
        read(tmp_path, values_of(3, -5), "tif", dtype=np.int32)
