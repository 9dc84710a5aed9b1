"""Quoting of paths: what is suggested is read by Hydra as the very path."""

from __future__ import annotations

import random
import re
import shlex

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from coseg.configs import quoted, quoting_hint, shell_word

PATHS = (
    "/data/My Photos (2020)", "/x[1], y", "{a: 1}", "~/voc", "a=b", "it's", '"q"', "'", "''", "\\", "a\\", "a\\'b",
    "\\\\srv\\x", "${x}", "\\${x}", "a$b", "$", "ä/ñ/日本 語", "#c", "a:b", "null", "12", " s ", "a\tb", "%20", "@x",
    "/a,b", "`ls`", "!x", "&;|", "a'\\", "\\${x} \\ ${y}'", "true", "1e3", "/", "-x", "[", "]", "{", "}", "(", ")",
    "*?", "\\'\\\\'", "${oc.env:HOME}",
)  # fmt: skip


def read(word: str) -> object:
    """The value of an override, as a configuration gives it."""
    value = OverridesParser.create().parse_override(word).value()
    return OmegaConf.create({"x": value}).x


def nasty(count: int) -> list[str]:
    drawn = random.Random(0)
    letters = "ab1/ ()[]{},=~'\"\\$:#@%&;!*?.äñ日\t-+`|<>^"
    return ["".join(drawn.choices(letters, k=drawn.randint(1, 14))) for _ in range(count)]


def test_a_quoted_path_is_read_as_it_is() -> None:
    parser = OverridesParser.create()
    for path in (*PATHS, *nasty(1500)):
        override = parser.parse_override(f"dataset.root={quoted(path)}")
        assert not override.is_sweep_override()
        assert OmegaConf.create({"x": override.value()}).x == path, path


def test_the_hint_is_a_word_of_the_shell_that_hydra_reads() -> None:
    hinted = 0
    for path in (*PATHS, *nasty(300)):
        hint = quoting_hint(["seed=1", f"dataset.root={path}"])
        if hint is None:  # Hydra reads it as one value: a list is told by the check of settings
            continue
        if path[0] in "'\"" or path[-1] in "'\"":
            continue  # half a quotation: which is a part of the name can't be known
        hinted += 1
        (word,) = shlex.split(re.split(r"quotes[^:]*: ", hint, maxsplit=1)[1])
        assert read(word) == path, (path, word)
    assert hinted > 150


@pytest.mark.parametrize(
    ("words", "better"),
    [
        (["dataset.root=/data/My Photos (2020)"], "\"dataset.root='/data/My Photos (2020)'\""),
        (["dataset=folder", "dataset.root=/a,b"], "\"dataset.root='/a,b'\""),
        (["dataset.root=/a=b", "seed=2"], "\"dataset.root='/a=b'\""),
        (["runs=~/x"], "\"runs='~/x'\""),
        (["dataset.root=/data/My", "Photos", "(2020)", "seed=3"], "\"dataset.root='/data/My Photos (2020)'\""),
        (["ckpt='/a b/c"], "\"ckpt='/a b/c'\""),
        (["+model.encoder.weights=/a(1).pth"], "\"+model.encoder.weights='/a(1).pth'\""),
    ],
)
def test_hints(words: list[str], better: str) -> None:
    hint = quoting_hint(words)
    assert hint is not None and hint.endswith(better)


@pytest.mark.parametrize(
    ("words", "sweeps"),
    [
        (["dataset.root=/data/My Photos"], False),  # Hydra reads inner spaces
        (["model.kernel_sizes=[3],[4"], False),  # a list that is cut is no path
        (["dataset.root=/a,/b"], True),
        (["dataset.root='/a (b)'"], False),
        (["--multirun", "seed=1,2"], True),
        (["=x", "x=", "~seed", "--help"], False),
    ],
)
def test_no_hints(words: list[str], sweeps: bool) -> None:
    assert quoting_hint(words, sweeps) is None


@pytest.mark.parametrize(
    "word", ["a=b", "a='b c'", 'a="b"', "a='$x'", "a='x\\'", "a='it\\'s'", "a=`ls`", "a=b!c", "a=\\\\"]
)
def test_words_of_the_shell(word: str) -> None:
    assert shlex.split(shell_word(word)) == [word]
