from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path
from typing import Any

import pytest

from coseg.errors import CosegError
from coseg.evaluation.published import published_scores
from coseg.evaluation.report import class_table, find_results, icoseg_table, score_table
from coseg.evaluation.table import as_csv, as_latex, as_markdown

VALUES: dict[str, Any] = {
    "dataset": "voc", "split": "test", "protocol": "paper", "void": "background", "images": 725, "pairs": 37700,
    "complete": True, "jaccard": 0.5, "jaccard_class_mean": 0.4, "jaccard_global": 0.625, "jaccard_distractor": None,
    "pixel_accuracy": 0.9, "intervals": {"jaccard": [0.4506, 0.55], "jaccard_distractor": [None, None]},
    "per_class": {"cat": 0.3, "dog": 0.5, "cow": None}, "references": {}, "model": "Net", "checkpoint": "best.ckpt",
    "input_size": None, "seconds": 1.0,
}  # fmt: skip


def write(folder: Path, **changes: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "results.json").write_text(json.dumps(VALUES | changes))
    return folder


def column(table: Any, title: str) -> dict[str, str]:
    """The cells below a title by the names of their rows."""
    at = table.head.index(title)
    return {row[0]: row[at] for _, rows in table.blocks for row in rows}


# what papers print


def test_the_printed_scores_are_those_of_the_papers() -> None:
    published = published_scores()
    table = {
        "li2018": (None, 82.9, 84.2),
        "chen2018": (59.8, 77.7, 86.0),
        "banerjee2019": (None, 85, None),
        "chen2021": (None, 85.9, 86.8),
        "cross_correlation": (73.6, 86.7, 89.9),
    }
    assert {key: tuple(method.scores.values()) for key, method in published.methods.items()} == table
    for method in published.methods.values():
        assert list(method.scores) == list(published.tests)
        if method.icoseg:
            *groups, mean = method.icoseg.values()
            assert len(groups) == 8
            assert sum(groups) / 8 == pytest.approx(mean, abs=0.06)  # as printed, to a decimal
            assert method.scores["icoseg"] == mean


# finding results


def test_results_are_found_by_file_folder_and_run(tmp_path: Path) -> None:
    run = tmp_path / "runs" / "voc_pairs" / "one"
    first, second = write(run / "test" / "a"), write(run / "test" / "b", split="val")
    assert [result.folder for result in find_results([run])] == [first, second]
    assert [result.folder for result in find_results([second, first / "results.json", run])] == [second, first]
    assert find_results([run])[0].run == run


def test_where_there_are_none_it_says_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    with pytest.raises(CosegError, match=r"has no results of a test \(it holds notes\.txt\)"):
        find_results([tmp_path])
    with pytest.raises(CosegError, match="empty or not there"):
        find_results([tmp_path / "nowhere"])
    write(tmp_path)
    (tmp_path / "results.json").write_text("{")
    with pytest.raises(CosegError, match=r"results\.json is damaged"):
        find_results([tmp_path])
    (tmp_path / "results.json").write_text('{"dataset": "voc"}')
    with pytest.raises(CosegError, match=r"results\.json lacks split"):
        find_results([tmp_path])


# the table of scores


def test_a_full_test_stands_in_the_column_of_the_printed_scores(tmp_path: Path) -> None:
    table = score_table(find_results([write(tmp_path / "runs" / "voc_pairs" / "one" / "test" / "a")]))
    assert table.head == ["", "voc test", "MSRC, as printed", "iCoseg-8, as printed"]
    assert [title for title, _ in table.blocks] == ["Ran", "Printed by others"]
    cells = column(table, "voc test")
    assert cells["Net (voc_pairs/one)"] == "50.0 (45.1 to 55.0)"
    assert cells["Semantic-aware attention (Chen, Huang, Nakayama, 2018)"] == "59.8"
    assert column(table, "MSRC, as printed")["Net (voc_pairs/one)"] == "-"


@pytest.mark.parametrize(
    ("changes", "title"),
    [
        ({"complete": False, "pairs": 100}, "voc test, a part: 725 images, 100 pairs"),
        ({"protocol": "chen2018"}, "voc test, chen2018, void background"),
        ({"void": "ignored"}, "voc test, paper, void ignored"),
        ({"split": "val"}, "voc val"),
        ({"dataset": "msrc"}, "msrc test"),
        ({"images": 724}, "voc test"),
    ],
)
def test_another_test_has_a_column_of_its_own(changes: dict[str, Any], title: str, tmp_path: Path) -> None:
    table = score_table(find_results([write(tmp_path / "a", **changes)]))
    assert table.head == ["", title, "VOC test, as printed", "MSRC, as printed", "iCoseg-8, as printed"]
    ran, printed = (rows for _, rows in table.blocks)
    assert [cell != "-" for cell in ran[0][1:]] == [True, False, False, False]
    assert all(row[1] == "-" for row in printed)


def test_one_run_is_one_row_and_two_runs_are_two(tmp_path: Path) -> None:
    for run in ("one", "two"):
        write(tmp_path / "exp" / run / "test" / "a")
        write(tmp_path / "exp" / run / "test" / "b", dataset="msrc_subset", images=70, jaccard=0.75)
        write(tmp_path / "exp" / run / "test" / "c", input_size=128)
    table = score_table(find_results([tmp_path / "exp" / "one", tmp_path / "exp" / "two"]))
    assert [row[0] for row in table.blocks[0][1]] == [
        "Net (exp/one)", "Net at 128 x 128 (exp/one)", "Net (exp/two)", "Net at 128 x 128 (exp/two)",
    ]  # fmt: skip
    assert table.head == ["", "voc test", "msrc_subset test", "iCoseg-8, as printed"]
    assert column(table, "msrc_subset test")["Net (exp/two)"].startswith("75.0")
    assert column(table, "msrc_subset test")["Channel and spatial attention (Chen et al., 2021)"] == "85.9"


def test_other_scores_have_no_printed_ones_beside_them(tmp_path: Path) -> None:
    table = score_table(find_results([write(tmp_path / "x" / "y")]), "jaccard_global")
    assert table.head == ["", "voc test"]
    assert table.blocks == [("Ran", [["Net (x/y)", "62.5"]])]
    assert score_table(find_results([tmp_path / "x" / "y"]), "jaccard_distractor").blocks[0][1][0][1] == "-"
    with pytest.raises(CosegError, match="Did you mean 'jaccard_global'"):
        score_table([], "jaccard_globl")


# classes and groups


def test_classes(tmp_path: Path) -> None:
    other = write(tmp_path / "b", per_class={"dog": 0.25, "bird": 1.0}, jaccard_class_mean=0.625)
    table = class_table(find_results([write(tmp_path / "a"), other]))
    assert table.blocks[0][1] == [
        ["cat", "30.0", "-"],
        ["dog", "50.0", "25.0"],
        ["bird", "-", "100.0"],
        ["mean", "40.0", "62.5"],
    ]


def test_groups_of_icoseg(tmp_path: Path) -> None:
    groups = ["bear2", "brownbear", "cheetah", "elephant", "helicopter", "hotballoon", "panda1", "panda2"]
    folder = write(tmp_path / "a", dataset="icoseg", per_class={name: k / 10 for k, name in enumerate(groups)})
    part = write(tmp_path / "b", dataset="icoseg", split="bear2", per_class={"bear2": 0.5})
    table = icoseg_table(find_results([folder, part]))
    assert table.head == ["", *groups, "mean"]
    ran, printed = (rows for _, rows in table.blocks)
    assert ran[0][1:] == [f"{10 * k}.0" for k in range(8)] + ["35.0"]
    assert ran[1][1:] == ["50.0", *["-"] * 8]  # no mean of a part
    assert len(printed) == 4
    assert printed[-1][1:] == ["91.4", "92.4", "87.7", "91.5", "83.6", "95.6", "91.6", "85.7", "89.9"]
    assert len(icoseg_table([]).blocks) == 1
    with pytest.raises(CosegError, match="None of the results is of iCoseg"):
        icoseg_table(find_results([write(tmp_path / "c")]))


# formats


def test_markdown(tmp_path: Path) -> None:
    lines = as_markdown(score_table(find_results([write(tmp_path / "a|b", model="Net|work")]))).splitlines()
    rows = [line for line in lines if line.startswith("|")]
    assert {len(re.findall(r"(?<!\\)\|", row)) for row in rows} == {5}
    assert "**Ran**" in rows[2]
    assert "Net\\|work" in rows[3]


def test_latex(tmp_path: Path) -> None:
    text = as_latex(score_table(find_results([write(tmp_path / "a", dataset="msrc_subset", model="100%_a&b#{~^\\")])))
    body = [line for line in text.splitlines() if line.endswith(r"\\")]
    assert r"100\%\_a\&b\#\{\textasciitilde{}\textasciicircum{}\textbackslash{}" in text
    (columns,) = re.findall(r"\\begin\{tabular\}\{(.*)\}", text)
    for line in body:
        spans = [int(span) - 1 for span in re.findall(r"\\multicolumn\{(\d+)\}", line)]
        assert len(re.findall(r"(?<!\\)&", line)) + sum(spans) == len(columns) - 1
    assert text.count("{") - text.count(r"\{") == text.count("}") - text.count(r"\}")
    assert text.count(r"\begin") == text.count(r"\end") == 1


def test_csv(tmp_path: Path) -> None:
    rows = list(csv.reader(io.StringIO(as_csv(score_table(find_results([write(tmp_path / "a,b")]))))))
    assert rows[0][:3] == ["origin", "", "voc test"]
    assert {len(row) for row in rows} == {5}
    assert [row[0] for row in rows[1:]] == ["Ran", *["Printed by others"] * 5]
