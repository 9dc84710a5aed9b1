"""A folder's worth of photographs: co-segmented as a pair, a group or all pairs, and everything written."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple

from coseg.errors import CosegError
from coseg.imaging.draw import drawable
from coseg.inference.contact_sheet import Card, ContactSheet, layout
from coseg.inference.cosegmentation import Cosegmentation, Segment, common_scores, image_scores, percent
from coseg.inference.encoded_images import EncodedImages, require_two
from coseg.inference.exemplar import Exemplars
from coseg.inference.outputs import Targets, Tiles, write_pictures
from coseg.inference.processes import ALONE, Processes
from coseg.inference.segmenter import CoSegmenter

_WORKERS = min(4, os.cpu_count() or 1)
_PIXELS_AT_ONCE = 30_000_000
"""How many images are written at the same time, and their pixels in total, at most: about 15 bytes each."""


class Written(NamedTuple):
    """What came of writing the pictures of an image.

    Attributes:
        tiles: for a contact sheet; None: without one, or they could not be made.
        problem: a sentence where something could not be written; None: all was.
    """

    tiles: Tiles | None
    problem: str | None = None


Progress = Callable[[str, int, int], None]
"""Called with the work (``Reading``), how much of it is finished, and its total."""

Writings = Iterable[tuple[int, Written]]
"""Of the images of a result, by their indices in it."""

Result = tuple[Sequence[int], Cosegmentation, Writings | None]
"""The indices of images among all, what they have in common, and what was written where that is done already."""


class Album:
    """Photographs that are segmented, and their results written.

    Only the features of the images and their probabilities at working size are held; pictures at original size are made
    a few at a time. Several processes of the segmenter divide the work, and each has all results; only the first writes
    contact sheets.

    Args:
        segmenter: the network.
        paths: of the photographs, two or more.
        targets: what to write and where.
        problem: called with a sentence for each problem; the work continues.
        progress: see `Progress`.
        model: the model's name, for the contact sheet.
        exemplars: the object that is searched for; None: what the photographs have in common.
        clusters: first divide the photographs into groups that share an object; each is segmented by itself.

    Attributes:
        alone: the indices of the photographs that are in no group.
        numbered: the numbers, from 1 on, of images that a contact sheet shows as "No. 3", say, since no installed font
            has the letters of their names.
    """

    def __init__(
        self,
        segmenter: CoSegmenter,
        paths: Sequence[Path],
        targets: Targets,
        problem: Callable[[str], None],
        progress: Progress,
        model: str = "",
        exemplars: Exemplars | None = None,
        clusters: bool = False,
    ) -> None:
        self.segmenter = segmenter
        self.paths = paths
        self.targets = targets
        self.problem = problem
        self.progress = progress
        self.model = model
        self.exemplars = exemplars
        self.clusters = clusters
        self.alone: list[int] = []
        self.numbered: set[int] = set()
        self._noted: set[int] = set()

    def run(self) -> Iterator[tuple[Cosegmentation, dict[str, Any]]]:
        """Segment and write everything; yield the result and the scores of the pair or the group, or of each of them.

        Raises:
            CosegError: fewer than two images can be read, or the model gives numbers that are not finite.
        """
        pairs = self.targets.pairs
        count = len(self.paths)
        form = layout(count * (count - 1) if pairs else count, pairs)
        sheet = ContactSheet(self.sheets, form, "") if any(self.targets.sheets) else None
        tile = None if sheet is None else form.tile
        results = self._all_pairs(tile) if pairs else self._groups() if self.clusters else self._one_group()
        for places, result, written in results:
            for i, j in result.repeated:
                if result.exemplars:  # each image is compared with the exemplars alone
                    break
                both = " and ".join(str(self.paths[places[k]]) for k in (i, j))
                self.problem(f"{both} show the same picture: all of it is common, so their masks mean little.")
            self._report_notes(places, result)
            if sheet is not None:
                sheet.title = self._title(result)
                self.numbered.update(place + 1 for place in places if not drawable(self.paths[place].name))
            yield result, {**common_scores(result), "images": self._write_all(places, result, sheet, written)}
        if sheet is not None:
            self._attempt(sheet.close)

    @property
    def sheets(self) -> list[Path | None]:
        """The files of contact sheets that this process writes."""
        return [path if self.segmenter.processes.rank == 0 else None for path in self.targets.sheets]

    def _report_notes(self, places: Sequence[int], result: Cosegmentation) -> None:
        """Report the defect of each photograph, once."""
        for place, segment in zip(places, result, strict=True):
            if segment.note is not None and place not in self._noted:
                self._noted.add(place)
                self.problem(
                    f"{self.paths[place]} is {segment.note}: its mask means little. Correct its brightness, or leave "
                    "it out."
                )

    def _attempt(self, job: Callable[[], None]) -> None:
        """Do `job`; an error is reported, and the work continues."""
        try:
            job()
        except CosegError as error:
            self.problem(str(error))

    def _write_all(
        self, places: Sequence[int], result: Cosegmentation, sheet: ContactSheet | None, written: Writings | None
    ) -> list[dict[str, Any]]:
        """The scores of the images; their pictures are written if they were not."""
        scores: list[dict[str, Any]] = []
        tile = None if sheet is None else sheet.form.tile
        for k, of_image in self._pictures(places, result, tile) if written is None else written:
            path, segment = self.paths[places[k]], result[k]
            if of_image.problem is not None:
                self.problem(of_image.problem)
            if sheet is not None and of_image.tiles is not None:
                card = Card(of_image.tiles, segment.name, self._figure(segment, result), places[k] + 1)
                self._attempt(partial(sheet.add, card))
            pictures = files_written(self.targets.listed(places[k], places), of_image)
            scores.append({"number": places[k] + 1, **image_scores(path, segment), **pictures})
            if not self.targets.pairs:
                self.progress("Writing", len(scores), len(places))
        return scores

    def _pictures(
        self, places: Sequence[int], result: Cosegmentation, tile: int | None, processes: Processes | None = None
    ) -> Writings:
        """Write the pictures of a result, with the tiles for a contact sheet of that size."""

        def job(k: int) -> Tiles | None:
            files = self.targets.wanted(places[k], places)
            return write_pictures(self.paths[places[k]], result[k], files, tile, self.targets.style)

        return in_batches(result.segments, job, self.segmenter.processes if processes is None else processes)

    def _figure(self, segment: Segment, result: Cosegmentation) -> str:
        likely = ""
        if result.exemplars and not segment.foreground:
            return "does not seem to show the object"
        if self.targets.pairs and not math.isnan(result.common):
            likely = f"  ·  {percent(result.common)} likely"
        elif not math.isnan(segment.belongs):
            outside = any(segment is result[k] for k in result.outside)
            likely = "  ·  does not seem to belong" if outside else f"  ·  {percent(segment.belongs)} likely to belong"
        share = percent(segment.foreground) if segment.foreground else "no"
        return f"{share} foreground{likely}"

    def _title(self, result: Cosegmentation) -> str:
        if self.targets.pairs or self.clusters:
            what = "all pairs" if self.targets.pairs else "groups"
            return "  ·  ".join(filter(None, (f"{what} of {len(self.paths)} images", self.model)))
        if result.exemplars:
            shown = "an exemplar" if result.exemplars == 1 else f"{result.exemplars} exemplars"
            common = f"the object of {shown} in {len(result) - len(result.outside)}"
            return "  ·  ".join(filter(None, (f"{len(result)} images", common, self.model)))
        common = "" if math.isnan(result.common) else f"{percent(result.common)} likely to have an object in common"
        return "  ·  ".join(filter(None, (f"{len(result)} images", common, self.model)))

    def _one_group(self) -> Iterator[Result]:
        if len(self.paths) == 2 and self.exemplars is None:
            places, encoded = self._read()
            yield places, self.segmenter.cosegment([encoded[k] for k in range(len(encoded))]), None
            return
        missing: set[int] = set()
        calls = 0

        def unreadable(place: int, error: CosegError) -> None:
            missing.add(place)
            self.problem(str(error))

        def progress(done: int, total: int) -> None:
            nonlocal calls
            calls += 1
            read = len(self.paths)
            if calls <= read:
                self.progress("Reading", calls, read)
            else:
                self.progress("Segmenting", calls - read, read - len(missing))

        if self.exemplars is None:
            result = self.segmenter.group(self.paths, progress, unreadable)
        else:
            result = self.exemplars.segment(
                self.paths, lambda done, total: self.progress("Segmenting", done, total), unreadable
            )
        yield [k for k in range(len(self.paths)) if k not in missing], result, None

    def _groups(self) -> Iterator[Result]:
        places, encoded = self._read()
        require_two(len(places))
        images = [encoded[k] for k in range(len(encoded))]
        finished = 0
        for group in self.segmenter.clusters(images):
            if len(group) == 1:
                self.alone.append(places[group[0]])
            else:
                yield [places[k] for k in group], self.segmenter.cosegment([images[k] for k in group]), None
            finished += len(group)
            self.progress("Segmenting", finished, len(places))

    def _all_pairs(self, tile: int | None) -> Iterator[Result]:
        places, encoded = self._read()
        require_two(len(places))
        pairs = list(combinations(range(len(places)), 2))

        def job(k: int) -> Result:
            i, j = pairs[k]
            pair, result = (places[i], places[j]), self.segmenter.cosegment((encoded[i], encoded[j]))
            return pair, result, list(self._pictures(pair, result, tile, ALONE))

        for done, result in enumerate(self.segmenter.processes.divided(len(pairs), job)):
            yield result
            self.progress("Segmenting pairs", done + 1, len(pairs))

    def _read(self) -> tuple[list[int], EncodedImages]:
        """The images that can be read: their indices, and encoded."""
        places, encoded = [], EncodedImages(self.segmenter.device)
        segmenter = self.segmenter
        for place, error in enumerate(encoded.read(segmenter.encode, self.paths, segmenter.processes)):
            if error is not None:
                self.problem(str(error))
            else:
                places.append(place)
            self.progress("Reading", place + 1, len(self.paths))
        return places, encoded


def in_batches(
    segments: Sequence[Segment], job: Callable[[int], Tiles | None], processes: Processes = ALONE
) -> Iterator[tuple[int, Written]]:
    """Do `job` for the index of each segment, and yield what was written.

    A process does a few images at a time, in threads: the slow steps release Python's global lock.
    """
    batches = list(_batches(segments))

    def finished(k: int) -> Written:
        try:
            return Written(job(k))
        except CosegError as error:
            return Written(None, str(error))

    with ThreadPoolExecutor(_WORKERS) as workers:
        done = processes.divided(len(batches), lambda n: list(workers.map(finished, batches[n])))
        for batch, written in zip(batches, done, strict=True):
            yield from zip(batch, written, strict=True)


def files_written(files: Mapping[str, Path], written: Written) -> dict[str, str]:
    """The files of an image, for the scores; where something went wrong, those that exist."""
    return {picture: str(file) for picture, file in files.items() if written.problem is None or file.is_file()}


def _batches(segments: Sequence[Segment]) -> Iterator[list[int]]:
    """Indices of consecutive segments that may be processed at the same time; a large image is processed alone."""
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
