"""A folder's worth of photographs: co-segmented as a pair, a group or all pairs, and everything written."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

from coseg.errors import CosegError
from coseg.inference.held import HeldFeatures
from coseg.inference.outputs import write_pictures
from coseg.inference.scores import common_scores, image_scores, percent
from coseg.inference.segment import Cosegmentation, Segment
from coseg.inference.segmenter import CoSegmenter, Encoded
from coseg.inference.sheet import Card, ContactSheet, layout
from coseg.inference.targets import Targets

Progress = Callable[[str, int, int], None]
"""Called with what is being done (``Reading``), how much of it is done, and how much there is."""

Found = tuple[Sequence[int], Cosegmentation]
"""The places of images among all, and what they have in common."""


class Album:
    """Photographs on their way through a network.

    No more is held than the features of the images and their probabilities at working size; pictures at original size
    are made one at a time.

    Args:
        segmenter: the network.
        paths: of the photographs, two or more.
        targets: what to write and where.
        tell: called with a sentence for each thing that goes wrong; the rest is done.
        progress: see `Progress`.
        model: the model's name, for the sheet.
    """

    def __init__(
        self,
        segmenter: CoSegmenter,
        paths: Sequence[Path],
        targets: Targets,
        tell: Callable[[str], None],
        progress: Progress,
        model: str = "",
    ) -> None:
        self.segmenter = segmenter
        self.paths = paths
        self.targets = targets
        self.tell = tell
        self.progress = progress
        self.model = model

    def run(self) -> Iterator[tuple[Cosegmentation, dict[str, Any]]]:
        """Segment and write all: the answer and the scores of the pair or the group, or of one pair after the other.

        Raises:
            CosegError: fewer than two images can be read, or a contact sheet can't be written.
        """
        pairs = self.targets.pairs
        count = len(self.paths)
        form = layout(count * (count - 1) if pairs else count, pairs)
        sheet = ContactSheet(self.targets.sheets, form, "") if any(self.targets.sheets) else None
        for places, found in self._all_pairs() if pairs else self._one_group():
            for i, j in found.repeated:
                both = " and ".join(str(self.paths[places[k]]) for k in (i, j))
                self.tell(f"{both} show the same picture: all of it is common, so what is marked in them means little.")
            if sheet is not None:
                sheet.title = self._title(found)
            scores: list[dict[str, Any]] = []
            for k, (place, segment) in enumerate(zip(places, found, strict=True)):
                scores.append(self._write(place, places, segment, found, sheet))
                if not pairs:
                    self.progress("Writing", k + 1, len(places))
            yield found, {**common_scores(found), "images": scores}
        if sheet is not None:
            sheet.close()

    def _write(
        self, place: int, group: Sequence[int], segment: Segment, found: Cosegmentation, sheet: ContactSheet | None
    ) -> dict[str, Any]:
        path = self.paths[place]
        files = self.targets.wanted(place, group)
        try:
            tiles = write_pictures(path, segment, files, None if sheet is None else sheet.form.tile)
        except CosegError as error:
            self.tell(str(error))
            files = {kind: file for kind, file in files.items() if file.is_file()}
        else:
            if sheet is not None and tiles is not None:
                likely = (
                    f"  ·  {percent(found.common)} likely" if self.targets.pairs and found.shares is not None else ""
                )
                sheet.add(Card(tiles, segment.name, f"{percent(segment.foreground)} marked{likely}"))
        return {**image_scores(path, segment), **{kind: str(file) for kind, file in files.items()}}

    def _title(self, found: Cosegmentation) -> str:
        if self.targets.pairs:
            return "  ·  ".join(filter(None, (f"all pairs of {len(self.paths)} images", self.model)))
        common = "" if found.shares is None else f"{percent(found.common)} likely to have an object in common"
        return "  ·  ".join(filter(None, (f"{len(found)} images", common, self.model)))

    def _one_group(self) -> Iterator[Found]:
        if len(self.paths) == 2:
            places, encoded, held = self._read()
            yield places, self.segmenter.cosegment(_given(encoded, held, range(len(places))))
            return
        missing: set[int] = set()
        calls = 0

        def unreadable(place: int, error: CosegError) -> None:
            missing.add(place)
            self.tell(str(error))

        def progress(done: int, total: int) -> None:
            nonlocal calls
            calls += 1
            read = len(self.paths)
            if calls <= read:
                self.progress("Reading", calls, read)
            else:
                self.progress("Marking", calls - read, read - len(missing))

        found = self.segmenter.group(self.paths, progress, unreadable)
        yield [k for k in range(len(self.paths)) if k not in missing], found

    def _all_pairs(self) -> Iterator[Found]:
        places, encoded, held = self._read()
        total = len(places) * (len(places) - 1) // 2
        if not total:
            self.segmenter.cosegment(encoded)  # tells that these are too few
        for done, (i, j) in enumerate(combinations(range(len(places)), 2)):
            yield (places[i], places[j]), self.segmenter.cosegment(_given(encoded, held, (i, j)))
            self.progress("Marking pairs", done + 1, total)

    def _read(self) -> tuple[list[int], list[Encoded], HeldFeatures]:
        """The images that can be read: their places, and what the encoder made of them."""
        places, encoded, held = [], [], HeldFeatures(self.segmenter.device)
        for place, path in enumerate(self.paths):
            try:
                each = self.segmenter.encode(path)
            except CosegError as error:
                self.tell(str(error))
            else:
                places.append(place)
                held.append(each.features)
                encoded.append(replace(each, features=None))
            self.progress("Reading", place + 1, len(self.paths))
        return places, encoded, held


def _given(encoded: Sequence[Encoded], held: HeldFeatures, places: Sequence[int]) -> list[Encoded]:
    return [replace(encoded[k], features=held[k]) for k in places]
