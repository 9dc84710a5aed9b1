"""Overrides as text: quoting what Hydra would otherwise read as its own notation."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Quote, QuotedString
from hydra.errors import HydraException

TEXTS = ("root", "runs", "resume", "ckpt", "weights", "dir", "name")
"""Last parts of keys whose values are paths or names."""


def quoted(text: object) -> str:
    """A path or another text as the value of an override, whatever is in it.

    ``${`` stands for itself, too: it is no reference.
    """
    plain = re.sub(r"(\\*)\$\{", lambda found: 2 * found[1] + r"\${", str(text))
    return QuotedString(plain, Quote.single).with_quotes()


def shell_word(word: str) -> str:
    """`word` as a shell reads it; within double quotes where these do, since Hydra's own are single ones."""
    if re.search(r'["$`!\n]|\\(?=[\\]|$)', word):
        return shlex.quote(word)
    return f'"{word}"' if shlex.quote(word) != word else word


def quoting_hint(words: Sequence[str], sweeps: bool = False) -> str | None:
    """How to write the first of these overrides that Hydra can't read as one value.

    Only for what looks like a path or a name: of other values it is the value that is wrong.

    Args:
        words: arguments of a command.
        sweeps: values with commas are several on purpose.

    Returns:
        A sentence; None: there is no such override.
    """
    for place, word in enumerate(words):
        key, equals, value = word.partition("=")
        if not equals or not value or not re.fullmatch(r"[+]{0,2}[A-Za-z_][\w.@/]*", key):
            continue
        if key.rpartition(".")[2] not in TEXTS and "/" not in value and "\\" not in value:
            continue
        tail = []  # the shell parted a path at its spaces
        for further in words[place + 1 :]:
            if "=" in further or further.startswith(("-", "~")):
                break
            tail.append(further)
        if tail or not _is_read(word, sweeps):
            full = " ".join((_unquoted(value), *tail))
            return (
                f"A path or a name with such characters needs quotes of its own: {shell_word(f'{key}={quoted(full)}')}"
            )
    return None


def _is_read(word: str, sweeps: bool) -> bool:
    try:
        override = OverridesParser.create().parse_override(word)
    except (HydraException, ValueError):
        return False
    return sweeps or not override.is_sweep_override()


def _unquoted(value: str) -> str:
    """Without quotes that were meant for Hydra, of which one or both may be there."""
    return value.strip("'\"") if value[0] in "'\"" or value[-1] in "'\"" else value
