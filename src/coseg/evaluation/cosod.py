"""A test as papers on co-salient object detection do it: each group at once, grey maps saved as files and scored."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from coseg.data.catalog import Catalog
from coseg.evaluation.group_test import GroupTest
from coseg.evaluation.mask_files import MaskFiles
from coseg.evaluation.partial_results import Key, explain_write_error
from coseg.metrics.cosod import MapScores, map_scores
from coseg.reports.results import COSOD


class CosodTest(GroupTest):
    """Scores the grey map of each image beside its mask, and saves it; see `GroupTest`.

    Args:
        maps: the folder of the maps.
        arguments: of `GroupTest`.
    """

    def __init__(self, maps: Path, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.maps = maps
        self.scored: list[tuple[Key, MapScores]] = []

    def count(
        self,
        keys: NDArray[np.int64],
        common: NDArray[np.bool_],
        sides: Sequence[tuple[Any, ...]],
        decision: Tensor | None = None,
    ) -> None:
        """See `NetworkTest.count`; of one image."""
        super().count(keys, common, sides, decision)
        ((_, logits, labels),) = sides
        k, image = keys[0].tolist()
        grey = grey_map(logits)[0].cpu().numpy()
        with explain_write_error(self.partial_results.folder):
            self.writer.write(map_path(self.maps, self.datamodule.catalog("test"), (k, image)), grey)
        truth = (labels[0] == k + 1).cpu().numpy()
        self.scored.append(((k, image), map_scores(grey, truth)))

    def states(self) -> dict[str, dict[str, NDArray[Any]]]:
        """See `NetworkTest.states`; with the scores of each map."""
        scored, self.scored = self.scored, []
        keys, rows = (np.array(values) for values in ([key for key, _ in scored], [maps.row for _, maps in scored]))
        return {**super().states(), COSOD: {"keys": keys, "rows": rows}}


def grey_map(logits: Tensor) -> Tensor:
    """The foreground's probability in 8 bits, uint8 (B, H, W), of logits (B, 2, H, W)."""
    probability = (logits[:, 1].float() - logits[:, 0].float()).sigmoid()
    return (probability.nan_to_num(0) * 255).round().byte()


def map_path(folder: Path, catalog: Catalog, key: Key) -> Path:
    """``<folder>/<group>/<image>.png`` of the class and the image in `key`: the image's id, without its group."""
    (path,) = MaskFiles.of(folder, catalog, groups=True).paths(key)
    return path


def remove_other_maps(folder: Path, catalog: Catalog, keys: Iterable[Key]) -> None:
    """Remove what an earlier test of other images, or a killed one, left among the maps of these keys."""
    wanted = {map_path(folder, catalog, key) for key in keys}
    for path in folder.rglob("*.png"):
        if path not in wanted:
            path.unlink(missing_ok=True)
