"""A folder's worth of photographs: co-segmented as a pair, a group or all pairs, and everything written."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import Any

from coseg.errors import CosegError
from coseg.evaluation.fonts import drawable
from coseg.inference.held import HeldFeatures
from coseg.inference.outputs import write_pictures
from coseg.inference.scores import common_scores, image_scores, percent
from coseg.inference.segment import Cosegmentation, Segment
from coseg.inference.segmenter import CoSegmenter, Encoded
from coseg.inference.sheet import Card, ContactSheet, layout
from coseg.inference.targets import Targets

_WORKERS = min(4, os.cpu_count() or 1)
_PIXELS_AT_ONCE = 30_000_000
"""Images that are written at the same time, and how many pixels they have together at most: about 15 bytes each."""

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

    Attributes:
        numbered: the numbers, from 1 on, of images that stand on a contact sheet as "No. 3", say, since no font here
            has the letters of their names.
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
        self.numbered: set[int] = set()
        self._noted: set[int] = set()

    def run(self) -> Iterator[tuple[Cosegmentation, dict[str, Any]]]:
        """Segment and write all: the answer and the scores of the pair or the group, or of one pair after the other.

        Raises:
            CosegError: fewer than two images can be read, or the model gives numbers that are not finite.
        """
        pairs = self.targets.pairs
        count = len(self.paths)
        form = layout(count * (count - 1) if pairs else count, pairs)
        sheet = ContactSheet(self.targets.sheets, form, "") if any(self.targets.sheets) else None
        for places, found in self._all_pairs() if pairs else self._one_group():
            for i, j in found.repeated:
                both = " and ".join(str(self.paths[places[k]]) for k in (i, j))
                self.tell(f"{both} show the same picture: all of it is common, so what is marked in them means little.")
            self._tell_notes(places, found)
            if sheet is not None:
                sheet.title = self._title(found)
                self.numbered.update(place + 1 for place in places if not drawable(self.paths[place].name))
            yield found, {**common_scores(found), "images": self._write_all(places, found, sheet)}
        if sheet is not None:
            self._told(sheet.close)

    def _tell_notes(self, places: Sequence[int], found: Cosegmentation) -> None:
        """Tell of each photograph, once, what is wrong with it."""
        for place, segment in zip(places, found, strict=True):
            if segment.note is not None and place not in self._noted:
                self._noted.add(place)
                self.tell(
                    f"{self.paths[place]} is {segment.note}: what is marked in it means little. Mend its brightness, "
                    "or leave it out."
                )

    def _told(self, job: Callable[[], None]) -> None:
        """Do `job`, and tell what goes wrong in it: the rest is done."""
        try:
            job()
        except CosegError as error:
            self.tell(str(error))

    def _write_all(
        self, places: Sequence[int], found: Cosegmentation, sheet: ContactSheet | None
    ) -> list[dict[str, Any]]:
        """Write the pictures, a few images at a time: what takes time in it leaves Python's lock to others."""
        scores: list[dict[str, Any]] = []
        tile = None if sheet is None else sheet.form.tile
        files = [self.targets.wanted(place, places) for place in places]
        with ThreadPoolExecutor(_WORKERS) as workers:
            for batch in _batches(found.segments):
                jobs = [workers.submit(write_pictures, self.paths[places[k]], found[k], files[k], tile) for k in batch]
                for k, job in zip(batch, jobs, strict=True):
                    path, segment = self.paths[places[k]], found[k]
                    written = files[k]
                    try:
                        tiles = job.result()
                    except CosegError as error:
                        self.tell(str(error))
                        written = {kind: file for kind, file in written.items() if file.is_file()}
                    else:
                        if sheet is not None and tiles is not None:
                            card = Card(tiles, segment.name, self._figure(segment, found), places[k] + 1)
                            self._told(partial(sheet.add, card))
                    files_written = {kind: str(file) for kind, file in written.items()}
                    scores.append({"number": places[k] + 1, **image_scores(path, segment), **files_written})
                    if not self.targets.pairs:
                        self.progress("Writing", len(scores), len(places))
        return scores

    def _figure(self, segment: Segment, found: Cosegmentation) -> str:
        likely = f"  ·  {percent(found.common)} likely" if self.targets.pairs and found.shares is not None else ""
        marked = percent(segment.foreground) if segment.foreground else "nothing"
        return f"{marked} marked{likely}"

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


def _batches(segments: Sequence[Segment]) -> Iterator[list[int]]:
    """Places of segments that follow, as many as may be worked on at once; a large image is worked on alone."""
    batch: list[int] = []
    pixels = 0
    for k, segment in enumerate(segments):
        height, width = segment.size
        if batch and (len(batch) == _WORKERS or pixels + height * width > _PIXELS_AT_ONCE):
            yield batch
            batch, pixels = [], 0
        batch.append(k)
        pixels += height * width
    if batch:
        yield batch


def _given(encoded: Sequence[Encoded], held: HeldFeatures, places: Sequence[int]) -> list[Encoded]:
    return [replace(encoded[k], features=held[k]) for k in places]
