"""A folder's worth of photographs in which several named objects are searched for, and everything written."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from coseg.errors import CosegError
from coseg.imaging.draw import OBJECTS, drawable, object_colour
from coseg.inference.album import Album, Progress, files_written, in_batches
from coseg.inference.contact_sheet import Card, ContactSheet, layout
from coseg.inference.cosegmentation import percent, segment_scores
from coseg.inference.named_objects import NamedExemplars, NamedObjects
from coseg.inference.outputs import Targets, Tiles, write_labels, write_pictures


class ObjectsAlbum(Album):
    """Photographs in which objects are searched for, see `Album`; `results` takes the place of its `run`.

    Args:
        search: the objects.
        paths, targets, problem, progress, model: as for `Album`; the targets have the names of the objects.
    """

    def __init__(
        self,
        search: NamedExemplars,
        paths: Sequence[Path],
        targets: Targets,
        problem: Callable[[str], None],
        progress: Progress,
        model: str = "",
    ) -> None:
        super().__init__(search.segmenter, paths, targets, problem, progress, model)
        self.search = search

    def results(self) -> tuple[NamedObjects, list[int], dict[str, Any]]:
        """Segment and write everything: the result, the indices of the images in it, and their scores.

        Raises:
            CosegError: no image can be read, or the model gives numbers that are not finite.
        """
        missing: set[int] = set()

        def unreadable(place: int, error: CosegError) -> None:
            missing.add(place)
            self.problem(str(error))

        result = self.search.segment(
            self.paths, lambda done, total: self.progress("Segmenting", done, total), unreadable
        )
        places = [k for k in range(len(self.paths)) if k not in missing]
        first = result[result.names[0]]
        self._report_notes(places, first)
        sheet = None
        if any(self.targets.sheets):
            title = "  ·  ".join(filter(None, (f"{len(first)} images", _legend(result.names), self.model)))
            sheet = ContactSheet(self.sheets, layout(len(self.paths)), title)
            self.numbered.update(place + 1 for place in places if not drawable(self.paths[place].name))
        images = list(self._write(places, result, sheet))
        if sheet is not None:
            self._attempt(sheet.close)
        return result, places, {"objects": result.scores([place + 1 for place in places]), "images": images}

    def _write(
        self, places: Sequence[int], result: NamedObjects, sheet: ContactSheet | None
    ) -> Iterator[dict[str, Any]]:
        """Write the pictures of each image, and yield its scores."""
        tile = None if sheet is None else sheet.form.tile

        def files(k: int, name: str | None) -> dict[str, Path]:
            return self.targets.wanted(places[k], places, name)

        def job(k: int) -> Tiles | None:
            path, segments = self.paths[places[k]], result.segments(k)
            writers: list[Callable[[], Tiles | None]] = [
                partial(write_pictures, path, segment, files(k, name), None, self.targets.style, object_colour(n))
                for n, (name, segment) in enumerate(zip(result.names, segments, strict=True), start=1)
            ]
            writers.append(partial(write_labels, path, segments, files(k, None), tile))
            tiles, problems = None, []
            for write in writers:
                try:  # a file that can't be written leaves those of the other objects
                    tiles = write()
                except CosegError as error:
                    problems.append(str(error))
            if problems:
                raise CosegError(" ".join(dict.fromkeys(problems)))
            return tiles

        for k, written in in_batches(result[result.names[0]].segments, job, self.segmenter.processes):
            path, segments = self.paths[places[k]], dict(zip(result.names, result.segments(k), strict=True))
            if written.problem is not None:
                self.problem(written.problem)
            if sheet is not None and written.tiles is not None:
                shares = (
                    f"{name} {percent(segment.foreground) if segment.foreground else 'no'}"
                    for name, segment in segments.items()
                )
                self._attempt(partial(sheet.add, Card(written.tiles, path.name, ", ".join(shares), places[k] + 1)))
            height, width = result[result.names[0]][k].size
            of_all = files_written(self.targets.listed(places[k], places), written)
            yield {
                "number": places[k] + 1,
                "file": str(path),
                "width": width,
                "height": height,
                **{"labels" if picture == "mask" else picture: file for picture, file in of_all.items()},
                "objects": {
                    name: {
                        **segment_scores(segment),
                        **files_written(self.targets.listed(places[k], places, name), written),
                    }
                    for name, segment in segments.items()
                },
            }
            self.progress("Writing", k + 1, len(places))


def _legend(names: Sequence[str]) -> str:
    """The objects and their colours, for as many as have one of a name."""
    return ", ".join(f"{name}: {colour}" for name, colour in zip(names, OBJECTS, strict=False)) + (
        f" and {len(names) - len(OBJECTS)} more" if len(names) > len(OBJECTS) else ""
    )
