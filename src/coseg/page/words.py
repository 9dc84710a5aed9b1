"""The words of the page: the answer in everyday language, how sure it is, captions of photographs, notices."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING

from coseg.hub.measures import level
from coseg.inference.cosegmentation import percent, reliability, trust_sentence

if TYPE_CHECKING:
    from coseg.hub.calibration import Calibration
    from coseg.inference.cosegmentation import Cosegmentation, Segment

_NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
_LISTED = 4
"""Names that a sentence lists, at most."""

_NOT_CALIBRATED = (
    "This model is not calibrated: how likely its answers are was never measured, so it gives an object in any case."
)
_COMPARED_WITH_SHOWN = (
    "Each photograph is compared with what you showed, and with nothing else. Where it is unlikely to show that "
    "object, its mask is empty. The likelihood is that of pairs of photographs. It is less sure where a photograph "
    "shows another object that is also in the one you clicked in."
)


def count(number: int) -> str:
    """A number in words up to twelve.

    >>> count(5), count(40)
    ('five', '40')
    """
    return _NUMBERS[number] if number < len(_NUMBERS) else str(number)


def listed(names: Sequence[str]) -> str:
    """Names as a sentence has them, the first few by name.

    >>> listed(["a.jpg", "b.jpg", "c.jpg"])
    'a.jpg, b.jpg and c.jpg'
    """
    short = list(names[:_LISTED])
    if len(names) > _LISTED:
        short.append(f"{count(len(names) - _LISTED)} more")
    return " and ".join(filter(None, (", ".join(short[:-1]), short[-1])))


def answer(cosegmentation: Cosegmentation) -> str:
    """Whether the photographs show one object, and which of them do not, without a number of how sure that is."""
    total, outside = len(cosegmentation), cosegmentation.outside
    unsure = cosegmentation.unsure
    if cosegmentation.exemplars:
        return _answer_of_shown(cosegmentation, outside, unsure)
    if math.isnan(cosegmentation.common):
        return "This is what the model takes for the common object. It cannot judge whether there is one at all."
    if cosegmentation.shares is None:
        return f"It is not clear whether {'these two' if total == 2 else 'these'} photographs show the same object."
    if cosegmentation.shares is False:
        empty = not any(segment.foreground for segment in cosegmentation)
        rest = "" if empty else " What is cut out below may mean nothing."
        return f"These {count(total)} photographs do not seem to show the same object.{rest}"
    if total - len(outside) - len(unsure) < 2:
        unsure = ()
    sentences = [f"{_all_or_some(total, outside, unsure)} seem to show the same object."]
    if outside:
        sentences.append(f"{_names(cosegmentation, outside)} {_verb(outside, 'do')} not seem to belong.")
    if unsure:
        sentences.append(f"It is not clear whether {_names(cosegmentation, unsure)} {_verb(unsure, 'belong')}.")
    return " ".join(sentences)


def _answer_of_shown(cosegmentation: Cosegmentation, outside: Sequence[int], unsure: Sequence[int]) -> str:
    total = len(cosegmentation)
    if len(outside) == total:
        return "The object that you showed was not recognised in any of the photographs."
    if len(outside) + len(unsure) == total:
        return "It is not clear whether the object that you showed is in any of the photographs."
    photographs = _all_or_some(total, outside, unsure)
    absent = f": not in {_names(cosegmentation, outside)}" if outside else ""
    sentence = f"The object that you showed seems to be in {photographs[0].lower()}{photographs[1:]}{absent}."
    if not unsure:
        return sentence
    return f"{sentence} It is not clear whether {_names(cosegmentation, unsure)} {_verb(unsure, 'show')} it."


def how_sure(cosegmentation: Cosegmentation, calibration: Calibration | None) -> list[str]:
    """Behind the answer: how likely it is, how often such answers are right, on which data that was measured."""
    if cosegmentation.exemplars:
        return [_COMPARED_WITH_SHOWN]
    if math.isnan(cosegmentation.common):
        return [_NOT_CALIBRATED]
    likely = f"That the photographs have an object in common is {percent(cosegmentation.common)} likely."
    trust = trust_sentence(calibration, cosegmentation)
    measured = reliability(calibration, len(cosegmentation), cosegmentation.input_size)
    return [text for text in (f"{likely} {trust}".strip(), measured) if text]


def verdict(cosegmentation: Cosegmentation, calibration: Calibration | None) -> str:
    """The answer as HTML, with what it rests on behind "How sure?"."""
    shares = cosegmentation.shares
    if cosegmentation.exemplars:
        shares = len(cosegmentation.outside) < len(cosegmentation)
    style = {True: "yes", False: "no", None: "unknown"}[shares]
    sure = "".join(f"<p>{escape(sentence)}</p>" for sentence in how_sure(cosegmentation, calibration))
    return (
        f'<div class="verdict {style}"><p class="answer">{escape(answer(cosegmentation))}</p>'
        f"<details><summary>How sure?</summary>{sure}</details></div>"
    )


def caption(name: str, segment: Segment, share: float, shown: bool) -> str:
    """Below a photograph, two lines: its name; the share of its mask, and its likelihood in words and per cent.

    Args:
        name: of the photograph.
        segment: of it.
        share: of the mask's foreground, 0..1.
        shown: a person has shown the object, so the likelihood is that it is in the photograph.
    """
    nothing = "not recognised" if shown else "nothing cut out"
    cut = f"{_percent(share)} of the picture" if share else nothing
    return f"{name}\n{' · '.join(filter(None, (cut, likelihood(segment.belongs, shown))))}"


def likelihood(belongs: float, shown: bool) -> str:
    """How likely a photograph belongs, or shows the object, in words and per cent; empty for a model without it."""
    if math.isnan(belongs):
        return ""
    words = {
        True: ("belongs to the others", "shows the object"),
        None: ("may belong", "may show the object"),
        False: ("does not seem to belong", "does not seem to show the object"),
    }[level(belongs)][shown]
    return f"{words} ({_percent(belongs)} likely)"


def notice(sentences: Sequence[str]) -> str:
    """Errors, and files that were left out, as HTML; empty for no sentence."""
    if not sentences:
        return ""
    paragraphs = "".join(f"<p>{escape(sentence)}</p>" for sentence in sentences)
    return f'<div class="notice" role="alert">{paragraphs}</div>'


def _percent(share: float) -> str:
    """A share in percent that a narrow line does not break."""
    return percent(share).replace(" ", "\u00a0")


def _names(cosegmentation: Cosegmentation, places: Sequence[int]) -> str:
    return listed([cosegmentation[k].name for k in places])


def _verb(places: Sequence[int], verb: str) -> str:
    """A verb of one photograph or of several."""
    return {"do": "does"}.get(verb, f"{verb}s") if len(places) == 1 else verb


def _all_or_some(total: int, outside: Sequence[int], unsure: Sequence[int]) -> str:
    """How many of the photographs are neither outside nor unsure."""
    sure = total - len(outside) - len(unsure)
    if sure < total:
        return f"{count(sure).capitalize()} of the {count(total)} photographs"
    return "Both photographs" if total == 2 else f"All {count(total)} photographs"
