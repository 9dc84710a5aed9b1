"""The words of the page: the answer in everyday language, how sure it is, captions of photographs, notices."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING

from coseg.hub.measures import level
from coseg.imaging.draw import colour_code
from coseg.inference.cosegmentation import percent, reliability, trust_sentence

if TYPE_CHECKING:
    from coseg.hub.calibration import Calibration
    from coseg.inference.cosegmentation import Cosegmentation, Segment
    from coseg.page.results import PageResult, ShownObject

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
_ONE_AT_MOST = "Each object has a likelihood of its own. A pixel is of one object at most, the likeliest there."
_THE_OBJECT = "The object that you showed"
_CANNOT = (
    "This model cannot search for an object that you show (the bundled model can). A click shows under "
    "<b>What matched</b> what is similar to that point."
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
        return answer_of_shown(cosegmentation)
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


def answer_of_shown(cosegmentation: Cosegmentation, what: str = _THE_OBJECT) -> str:
    """In how many photographs an object is that was shown, and in which it is not; `what` is the object."""
    total, outside, unsure = len(cosegmentation), cosegmentation.outside, cosegmentation.unsure
    if len(outside) == total:
        return f"{what} was not recognised in any of the photographs."
    if len(outside) + len(unsure) == total:
        subject = "the object that you showed" if what == _THE_OBJECT else what
        return f"It is not clear whether {subject} is in any of the photographs."
    photographs = _all_or_some(total, outside, unsure)
    absent = f": not in {_names(cosegmentation, outside)}" if outside else ""
    sentence = f"{what} seems to be in {photographs[0].lower()}{photographs[1:]}{absent}."
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


def verdict_of_objects(objects: Sequence[ShownObject]) -> str:
    """The answer for each of several objects as HTML, with its colour and its name."""
    answers, is_anywhere = [], False
    for shown in objects:
        if shown.cosegmentation is not None:
            is_anywhere |= len(shown.cosegmentation.outside) < len(shown.cosegmentation)
            sentence = answer_of_shown(shown.cosegmentation, f"“{shown.title}”")
            answers.append(f'<p class="answer">{chip(shown.number)}{escape(sentence)}</p>')
    style = "yes" if is_anywhere else "no"
    return (
        f'<div class="verdict {style} objects">{"".join(answers)}<details><summary>How sure?</summary>'
        f"<p>{_COMPARED_WITH_SHOWN}</p><p>{_ONE_AT_MOST}</p></details></div>"
    )


def chip(number: int) -> str:
    """The colour of an object as HTML."""
    return f'<span class="chip" style="background: {colour_code(number)}"></span>'


def instructions(result: PageResult | None, can_search: bool = True) -> str:
    """What has been shown, and what a click does, as HTML; without `can_search` the model can't search for objects."""
    if not can_search:
        return f'<p class="shown">{_CANNOT}</p>'
    if result is None or not (result.showing.exemplars or result.showing.corner or result.showing.is_named):
        return (
            '<p class="shown">Choose a photograph and click on an object in it. All photographs are then searched for '
            "<b>that</b> object.</p>"
        )
    showing, current = result.showing, result.showing.current
    lines = []
    for number, exemplar in enumerate(current.exemplars, start=1):
        share = "" if exemplar.region is None else percent(float(exemplar.region.mean()))
        taken = f", taken for the coloured {share} of the picture" if share else ""
        sort = "a rectangle" if len(exemplar.place) == 4 else "a point"
        lines.append(f"<li>{number}. {sort} in <b>{escape(result.names[exemplar.photograph])}</b>{taken}</li>")
    following = "Click again, here or in another photograph, to show more of it."
    if not lines:
        following = f"Click on <b>{escape(current.title)}</b> in a photograph."
    if showing.corner and (showing.corner.number, showing.corner.photograph) == (current.number, showing.photograph):
        following = "Now click the opposite corner."
    return f'<div class="shown"><ul>{"".join(lines)}</ul><p>{following}</p></div>'


def object_label(shown: ShownObject) -> str:
    """An object in the list of objects: what it is called, and how often it was clicked on."""
    clicks = len(shown.exemplars)
    return f"{shown.title} · {'not shown yet' if not clicks else '1 click' if clicks == 1 else f'{clicks} clicks'}"


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


def caption_of_objects(name: str, objects: Sequence[tuple[str, Segment, float]]) -> str:
    """Below a photograph: its name, and a line for each object, from its title, its segment and its mask's share."""
    lines = []
    for title, segment, share in objects:
        cut = f"{_percent(share)} of the picture" if share else "not recognised"
        unsure = "not clear, " if level(segment.belongs) is None else ""
        likely = "" if math.isnan(segment.belongs) else f" ({unsure}{_percent(segment.belongs)} likely)"
        lines.append(f"{title}: {cut}{likely}")
    return "\n".join((name, *lines))


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
