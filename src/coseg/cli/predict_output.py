"""What ``coseg-predict`` prints while it works: results, problems, and progress."""

from __future__ import annotations

import math
import sys
from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from coseg.inference.cosegmentation import percent
from coseg.inference.inputs import printable
from coseg.progress import Progress

if TYPE_CHECKING:
    from coseg.inference.cosegmentation import Cosegmentation
    from coseg.inference.named_objects import NamedObjects


_LISTED = 20
"""Images or pairs that are listed one by one; the contact sheet and --json have them all."""

_NO_FONT = "No font here has all letters of some names, so the contact sheet has their numbers"

_SECONDS = 10.0
"""Between two lines of progress where there is no terminal for a bar."""


class PredictOutput:
    """Results go to standard output, problems and progress to standard error.

    Args:
        quiet: print problems alone.
        to_stderr: results go to standard error, since standard output is for a program.
        silent: print nothing: another process of the same job does.

    Attributes:
        problems: the sentences so far.
        aliases: what messages and scores say in place of a path, such as that of a copy of standard input.
    """

    def __init__(self, quiet: bool = False, to_stderr: bool = False, silent: bool = False) -> None:
        self.problems: list[str] = []
        self.aliases: dict[str, str] = {}
        self._quiet = quiet or silent
        self._silent = silent
        self._to_stderr = to_stderr
        self._progress: Progress | None = None
        self._pairs = 0
        self._answers: Counter[bool | None] = Counter()
        self._calibrated = False

    def say(self, text: str) -> None:
        """Print a result."""
        if not self._quiet:
            self._print(text, to_stderr=self._to_stderr)

    def problem(self, sentence: str) -> None:
        """Print what is wrong, in one line; the exit code will be 2."""
        sentence = printable(self.aliased(sentence))
        self.problems.append(sentence)
        self._print(sentence, to_stderr=True)

    def aliased(self, text: str) -> str:
        """`text` with the aliases."""
        for path, alias in self.aliases.items():
            text = text.replace(path, alias)
        return text

    def progress(self, what: str, done: int, total: int) -> None:
        """A bar on a terminal; elsewhere a line now and then."""
        if self._quiet:
            return
        if self._progress is None or self._progress.what != what:
            self.done()
            unit = "pair" if "pair" in what else "image"
            self._progress = Progress(what, total, unit, seconds=_SECONDS, line=self._line, leave=False)
        self._progress.reach(done, total)

    def done(self) -> None:
        """Take the bar away."""
        if self._progress is not None:
            self._progress.close()
        self._progress = None

    def _line(self, text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    def images(self, result: Cosegmentation, numbers: Sequence[int], on_sheet: Collection[int]) -> None:
        """List the images of a pair or a group.

        Args:
            result: what they have in common.
            numbers: of each image among those given, from 1 on.
            on_sheet: the numbers that stand on the contact sheet in place of a name; where there are any, the list
                gives the numbers as well.
        """
        self.done()
        names = [printable(segment.name) for segment in result]
        width = min(40, max(map(len, names)))
        left_out = 0
        for k, (segment, name, number) in enumerate(zip(result, names, numbers, strict=True)):
            if k >= _LISTED and number not in on_sheet:
                left_out += 1
                continue
            label = f"{number:>{len(str(max(numbers)))}}  " if on_sheet else ""
            belongs = "" if math.isnan(segment.belongs) else f", {percent(segment.belongs)} likely to belong"
            self.say(
                f"  {label}{name:<{width}}  {segment.foreground:6.1%} foreground, confidence {segment.confidence:.2f}"
                f"{belongs}"
            )
        if left_out:
            self.say(f"  and {left_out} more: the contact sheet and --json have them all")
        if on_sheet:
            self.say(f"{_NO_FONT}: No. {', '.join(map(str, sorted(on_sheet)))}.")

    def objects(self, result: NamedObjects, numbers: Sequence[int], on_sheet: Collection[int]) -> None:
        """List the images in which several objects were searched for; see `images` for the arguments."""
        self.done()
        names = [printable(segment.name) for segment in result[result.names[0]]]
        width = min(40, max(map(len, names)))
        for k, (name, number) in enumerate(zip(names, numbers, strict=True)):
            if k >= _LISTED and number not in on_sheet:
                continue
            label = f"{number:>{len(str(max(numbers)))}}  " if on_sheet else ""
            objects = []
            for of_object, segment in zip(result.names, result.segments(k), strict=True):
                likely = "" if math.isnan(segment.belongs) else f" ({percent(segment.belongs)} likely)"
                objects.append(f"{of_object} {segment.foreground:.1%}{likely}")
            self.say(f"  {label}{name:<{width}}  {', '.join(objects)}")
        if len(names) > _LISTED:
            self.say(f"  and more, {len(names)} in all: the contact sheet and --json have them")
        if on_sheet:
            self.say(f"{_NO_FONT}: No. {', '.join(map(str, sorted(on_sheet)))}.")
        for sentence in result.sentences():
            self.say(sentence)

    def pair(self, result: Cosegmentation) -> None:
        """One line for one of many pairs."""
        self._pairs += 1
        self._answers[result.shares] += 1
        self._calibrated |= not math.isnan(result.common)
        if self._pairs <= _LISTED:
            shares = ", ".join(f"{printable(segment.name)} {segment.foreground:.1%}" for segment in result)
            answer = {True: "an object in common", False: "nothing in common", None: "can't tell"}[result.shares]
            likely = "" if math.isnan(result.common) else f"; {answer} ({percent(result.common)} likely to share)"
            self.say(f"  {shares} foreground{likely}")
        elif self._pairs == _LISTED + 1:
            self.say("  and more: the contact sheet and --json have them all")

    def pairs(self) -> None:
        """Sum up the pairs."""
        if not self._calibrated:
            self.say(f"{self._pairs} pairs.")
            return
        yes, no, unclear = (self._answers[answer] for answer in (True, False, None))
        tail = f"; for {unclear} it can't tell" if unclear else ""
        self.say(f"{yes} of {self._pairs} pairs seem to have an object in common, {no} nothing{tail}.")

    def alone(self, names: Sequence[str]) -> None:
        """List the images that are in no group, of which nothing is written."""
        if names:
            listed = ", ".join(map(printable, names[:_LISTED]))
            self.say(f"Nothing in common with other images, so nothing is written of them: {listed}")
            if len(names) > _LISTED:
                self.say(f"  and {len(names) - _LISTED} more: --json has them all")

    def numbered(self, paths: Sequence[Path], on_sheet: Collection[int]) -> None:
        """List the images of all pairs that stand on the contact sheet under their number."""
        if on_sheet:
            self.say(f"{_NO_FONT}:")
        for number in sorted(on_sheet):
            self.say(f"  {number}  {printable(paths[number - 1].name)}")

    def _print(self, text: str, to_stderr: bool) -> None:
        if self._silent:
            return
        stream = sys.stderr if to_stderr else sys.stdout
        encoding = stream.encoding or "utf-8"
        text = text.encode(encoding, "backslashreplace").decode(encoding)  # a file's name may hold any bytes
        if self._progress is not None:
            self._progress.write(text, stream)
        else:
            print(text, file=stream, flush=True)
