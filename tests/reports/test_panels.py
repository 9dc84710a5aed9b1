from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from coseg.data.catalog import Catalog
from coseg.data.dataset import PairBatch
from coseg.imaging.draw import PREDICTION, TRUTH, save_picture
from coseg.reports.panels import PanelSide, draw_panel, in_twos, panel_row


class Scenes(Catalog):
    def __init__(self) -> None:
        super().__init__("scenes", "test", ["one", "two"], ["cat", "dog"], np.array([[True, True], [True, False]]))

    def image(self, i: int) -> NDArray[np.uint8]:
        raise NotImplementedError

    def labels(self, i: int) -> NDArray[np.uint8]:
        raise NotImplementedError


def side(height: int, width: int, caption: str = "a caption") -> PanelSide:
    image = np.full((height, width, 3), 100, np.uint8)
    target = np.zeros((height, width), np.uint8)
    target[height // 4 : height // 2, width // 4 : width // 2] = 1
    target[-height // 4 :, : width // 4] = 2
    prediction = np.zeros((height, width), bool)
    prediction[height // 2 :, width // 2 :] = True
    return PanelSide(image, target, prediction, caption)


def coloured(tile: NDArray[np.uint8], colour: tuple[int, int, int]) -> int:
    return int((tile == np.array(colour, np.uint8)).all(-1).sum())


def test_tiles_hold_truth_and_prediction() -> None:
    picture = draw_panel([(side(60, 90), side(200, 100))], tile=100)
    assert picture.dtype == np.uint8
    assert picture.shape[2] == 3
    height, width = picture.shape[:2]
    top, lefts = height - 100 - 8, [4 + 104 * k for k in range(3)]
    image, truth, prediction = (picture[top : top + 100, left : left + 100] for left in lefts)
    assert coloured(image, TRUTH) == 0
    assert coloured(truth, TRUTH) > 50
    assert coloured(prediction, TRUTH) == coloured(truth, TRUTH)  # the outline
    tint = (0.45 * 100 + 0.55 * np.array(PREDICTION)).astype(int)
    assert abs(prediction[70, 80].astype(int) - tint).max() <= 1  # inside the letterbox, in the lower right quarter
    assert abs(truth[70, 80].astype(int) - 80).max() <= 1
    assert (truth[:16] == 236).all()  # 60x90 leaves a sixth free above and below
    assert width == 2 * (3 * 100 + 8) + 14 + 8


def test_size_grows_with_rows_and_long_captions_are_cut() -> None:
    one, two = (draw_panel([(side(30, 40, "x" * 500), side(1, 300))] * n) for n in (1, 2))
    assert one.shape[1] == two.shape[1]
    assert two.shape[0] > 1.5 * one.shape[0]
    assert draw_panel([]).shape[1] == one.shape[1]


def test_row_of_a_batch(tmp_path: Path) -> None:
    target = torch.zeros(2, 6, 8, dtype=torch.uint8)
    target[1, 2:4] = 1
    batch = PairBatch(
        image_a=torch.randint(0, 256, (2, 3, 6, 8), dtype=torch.uint8),
        image_b=torch.randint(0, 256, (2, 3, 6, 8), dtype=torch.uint8),
        target_a=target,
        target_b=target.flip(0),
        pair=torch.tensor([[0, 1], [0, 1]]),
        common=torch.tensor([[True, False], [True, False]]),
    )
    logits = torch.zeros(2, 2, 6, 8)
    logits[1, 1, 2:3] = 1.0
    row = panel_row(batch, (logits, logits), Scenes(), k=1)
    first, second = row
    assert first.caption == "one  ·  IoU 0.50  ·  cat"
    assert second.caption == "two  ·  no common object  ·  cat"
    assert first.prediction.sum() == 8
    assert (first.image == batch["image_a"][1].numpy().transpose(1, 2, 0)).all()
    picture = draw_panel([row], tile=40)
    save_picture(tmp_path / "panels" / "one.png", picture)
    assert (np.asarray(Image.open(tmp_path / "panels" / "one.png")) == picture).all()


def test_images_of_groups_stand_two_in_a_line() -> None:
    sides = [side(30, 40, str(k)) for k in range(3)]
    assert in_twos([(each,) for each in sides]) == [(sides[0], sides[1]), (sides[2],)]
    pairs = [(sides[0], sides[1]), (sides[1], sides[2])]
    assert in_twos(pairs) == pairs and in_twos([]) == []
    half, whole = draw_panel([(sides[0],)]), draw_panel([(sides[0], sides[0])])
    assert half.shape == whole.shape
    middle = half.shape[1] // 2
    assert (half[30:, middle + 8 :] == 255).all() and (half[:, :middle] == whole[:, :middle]).all()


def test_rows_without_predictions_have_two_tiles_each() -> None:
    whole, without = (
        draw_panel([tuple(one._replace(prediction=prediction) for one in (side(30, 40), side(30, 40)))])
        for prediction in (np.ones((30, 40), bool), None)
    )
    assert whole.shape[0] == without.shape[0]
    assert whole.shape[1] - without.shape[1] == 2 * (160 + 4)
