import numpy as np
import pytest
from facts import naming
from PIL import Image

from layouts.voc import voc_palette, write_voc


def test_palette_is_that_of_voc():
    # background, aeroplane, bicycle, person, tvmonitor, void as in the development kit's examples
    colours = voc_palette()[[0, 1, 2, 15, 20, 255]].tolist()
    assert colours == [[0, 0, 0], [128, 0, 0], [0, 128, 0], [192, 128, 128], [0, 64, 128], [224, 224, 192]]


def test_masks_are_palette_pictures_of_the_labels(tmp_path):
    labels = np.array([[0, 1], [20, 255]], np.uint8)
    write_voc(tmp_path, [("x", np.zeros((2, 2, 3), np.uint8), labels)], {"train": ["x"], "val": []})
    with Image.open(tmp_path / "SegmentationClass" / "x.png") as file:
        assert file.mode == "P"
        assert np.array_equal(np.array(file), labels)
        colours = np.array(file.convert("RGB")).tolist()
    assert colours == [[[0, 0, 0], [128, 0, 0]], [[0, 64, 128], [224, 224, 192]]]
    assert (tmp_path / "ImageSets" / "Segmentation" / "train.txt").read_text() == "x\n"
    assert (tmp_path / "ImageSets" / "Segmentation" / "val.txt").read_text() == ""


def test_writer_refuses_other_shapes(tmp_path):
    with pytest.raises(ValueError, match=naming("x", "(4, 4, 3)", "(4, 5)")):
        write_voc(tmp_path, [("x", np.zeros((4, 4, 3), np.uint8), np.zeros((4, 5), np.uint8))], {})
