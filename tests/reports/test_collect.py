from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from results_file import VALUES, write

from coseg.errors import CosegError
from coseg.reports.collect import find_results, names, titles


def test_results_are_found_by_file_folder_and_run(tmp_path: Path) -> None:
    run = tmp_path / "runs" / "voc_pairs" / "one"
    first, second = write(run / "test" / "a"), write(run / "test" / "b", split="val")
    assert [result.folder for result in find_results([run])] == [first, second]
    assert [result.folder for result in find_results([second, first / "results.json", run])] == [second, first]
    assert find_results([run])[0].run == run


def test_where_there_are_none_it_says_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    with pytest.raises(CosegError, match=r"no results.*notes\.txt"):
        find_results([tmp_path])
    with pytest.raises(CosegError, match="nowhere"):
        find_results([tmp_path / "nowhere"])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "damaged"),
        ("3", "damaged"),
        ('{"dataset": "voc"}', r"\bsplit\b"),
        (json.dumps(VALUES | {"jaccard": "0.5"}), r"\bjaccard\b"),
        (json.dumps(VALUES | {"images": "many", "intervals": 3}), "images, intervals"),
        (json.dumps(VALUES | {"intervals": {"jaccard": [0.1]}}), r"\bintervals\b"),
        (json.dumps(VALUES | {"per_class": [0.5]}), r"\bper_class\b"),
        (json.dumps(VALUES | {"complete": 1, "checkpoint": 7}), "complete, checkpoint"),
    ],
)
def test_a_damaged_file_is_named(text: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "results.json").write_text(text)
    with pytest.raises(CosegError, match=rf"results\.json.*{words}"):
        find_results([tmp_path])


def test_keys_of_a_later_version_do_no_harm(tmp_path: Path) -> None:
    (result,) = find_results([write(tmp_path, by_size={"small": [0.1]}, version=3, intervals={"by_size": [0, 1]})])
    assert result.values["version"] == 3


def test_the_origin_is_the_checkpoint(tmp_path: Path) -> None:
    found = find_results([write(tmp_path / "a"), write(tmp_path / "b", checkpoint=None)])
    assert [result.origin for result in found] == ["ran, checkpoints/best.ckpt", "ran, untrained"]


def test_names_hold_as_much_of_the_path_as_tells_runs_apart(tmp_path: Path) -> None:
    def named(*runs: str) -> list[str]:
        return names(find_results([write(tmp_path / run / "test" / "a") for run in runs]))

    assert named("x/exp/one", "x/exp/two") == ["Net (exp/one)", "Net (exp/two)"]
    assert named("x/exp/one", "y/exp/one") == ["Net (x/exp/one)", "Net (y/exp/one)"]
    two = find_results([write(tmp_path / "z" / "exp" / "one" / "test" / name) for name in "ab"])
    assert set(names(two)) == {"Net (exp/one)"}  # two tests of one run
    assert names([]) == []


def test_titles_tell_every_two_tests_apart(tmp_path: Path) -> None:
    changes: list[dict[str, Any]] = [
        {}, {"images": 724, "pairs": 9}, {"split": "val"}, {"void": "ignored"}, {"protocol": "chen2018"},
        {"complete": False, "images": 331, "pairs": 13161}, {"model": "Other"},
    ]  # fmt: skip
    found = find_results([write(tmp_path / str(k), **change) for k, change in enumerate(changes)])
    assert list(titles(found).values()) == [
        "voc test, 725 images, 37700 pairs",
        "voc test, 724 images, 9 pairs",
        "voc val",
        "voc test, paper, void ignored",
        "voc test, chen2018, void background",
        "voc test, a part: 331 images, 13161 pairs",
    ]
    assert titles(found)[found[0].test] == titles(found)[found[-1].test]  # another model, the same test
