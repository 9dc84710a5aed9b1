from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from coseg.data.readers.shapes import ShapesReader
from coseg.page.actions import GROUP, GROUP_NAME, NOTHING, PAIR, SEED, SIZE, draw_examples


def test_examples_share_what_their_names_say(tmp_path: Path) -> None:
    drawn = draw_examples(tmp_path)
    assert {name: len(files) for name, files in drawn.items()} == {PAIR: 2, GROUP_NAME: GROUP, NOTHING: 2}
    catalog = ShapesReader(SEED, SIZE, seen=60).read("seen")
    known = {catalog.image(i).tobytes(): catalog.contents[i] for i in range(len(catalog.contents))}
    shows = {
        name: np.array([known[np.asarray(Image.open(path)).tobytes()] for path in files])
        for name, files in drawn.items()
    }
    for name in (PAIR, GROUP_NAME):
        assert shows[name].all(0).sum() == 1  # one class is in all
        assert shows[name].sum(0).max() == len(shows[name]) and np.sort(shows[name].sum(0))[-2] <= 1  # no other in two
        assert (shows[name].sum(1) >= 2).all()  # saliency is not enough
    assert not shows[NOTHING].all(0).any()
    assert shows[PAIR].all(0).tolist() != shows[GROUP_NAME].all(0).tolist()
