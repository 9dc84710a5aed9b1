from __future__ import annotations

import csv
import io
import re
from pathlib import Path
from typing import Any

import pytest
from results_file import cosod, write

from coseg.errors import CosegError
from coseg.reports.collect import find_results
from coseg.reports.tables import as_csv, as_latex, as_markdown, class_table, cosod_table, icoseg_table, score_table


def column(table: Any, title: str) -> dict[str, str]:
    """The cells below a title by the names of their rows."""
    at = table.head.index(title)
    return {row[0]: row[at] for _, rows in table.blocks for row in rows}


# the table of scores

PRINTED = [
    "VOC test, as printed", "VOC test, chen2018, as printed", "MSRC, as printed", "MSRC, chen2018, as printed",
    "iCoseg-8, as printed", "iCoseg-8, chen2018, as printed",
]  # fmt: skip


def test_a_full_test_stands_in_the_column_of_the_printed_scores(tmp_path: Path) -> None:
    table = score_table(find_results([write(tmp_path / "runs" / "voc_pairs" / "one" / "test" / "a")]))
    assert table.head == ["method", "origin", "voc test", *PRINTED[1:]]
    assert [title for title, _ in table.blocks] == ["Ran", "Published"]
    cells = column(table, "voc test")
    assert cells["Net (voc_pairs/one)"] == "50.0 (45.1 to 55.0)"
    assert cells["Depth-wise cross-correlation"] == "73.6"
    assert cells["Semantic-aware attention"] == "-"  # known to be of another protocol
    assert column(table, "VOC test, chen2018, as printed")["Semantic-aware attention"] == "59.8"
    assert column(table, "MSRC, as printed")["Net (voc_pairs/one)"] == "-"
    origins = column(table, "origin")
    assert origins["Net (voc_pairs/one)"] == "ran, checkpoints/best.ckpt"
    assert origins["Semantic-aware attention"].startswith("published, Chen, Huang, Nakayama, 2018; 512 x 512")


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
    assert table.head == ["method", "origin", title, *PRINTED]
    ran, printed = (rows for _, rows in table.blocks)
    assert [cell != "-" for cell in ran[0][2:]] == [True, *[False] * 6]
    assert all(row[2] == "-" for row in printed)


def test_two_tests_that_could_both_be_the_published_one_are_neither(tmp_path: Path) -> None:
    folders = [write(tmp_path / str(images), dataset="icoseg", images=images) for images in (122, 40)]
    table = score_table(find_results(folders))  # how many images papers used is not known
    assert table.head[2:4] == ["icoseg test, 122 images, 37700 pairs", "icoseg test, 40 images, 37700 pairs"]
    assert all(row[2:4] == ["-", "-"] for row in table.blocks[1][1])


def test_the_same_protocol_and_score_share_a_column(tmp_path: Path) -> None:
    folder = write(tmp_path / "a" / "b", protocol="chen2018", jaccard_global=0.61)
    table = score_table(find_results([folder]), "jaccard_global")
    title = "voc test, chen2018, void background"
    assert table.head == ["method", "origin", title, PRINTED[3], PRINTED[5]]
    assert column(table, title) == {"Net (a/b)": "61.0", "Semantic-aware attention": "59.8"}


def test_nothing_is_lost_where_runs_have_one_name(tmp_path: Path) -> None:
    for place, score in (("x", 0.5), ("y", 0.25)):
        write(tmp_path / place / "exp" / "one" / "test" / "a", jaccard=score, intervals={})
    rows = score_table(find_results([tmp_path / place / "exp" / "one" for place in "xy"])).blocks[0][1]
    assert [(row[0], row[2]) for row in rows] == [("Net (x/exp/one)", "50.0"), ("Net (y/exp/one)", "25.0")]
    for name in "bc":
        write(tmp_path / "z" / "test" / name, intervals={})
    rows = score_table(find_results([tmp_path / "z"])).blocks[0][1]
    assert len(rows) == 2


def test_one_run_is_one_row_and_two_runs_are_two(tmp_path: Path) -> None:
    for run in ("one", "two"):
        write(tmp_path / "exp" / run / "test" / "a")
        write(tmp_path / "exp" / run / "test" / "b", dataset="msrc_subset", images=70, jaccard=0.75)
        write(tmp_path / "exp" / run / "test" / "c", input_size=128)
    table = score_table(find_results([tmp_path / "exp" / "one", tmp_path / "exp" / "two"]))
    assert [row[0] for row in table.blocks[0][1]] == [
        "Net (exp/one)", "Net at 128 x 128 (exp/one)", "Net (exp/two)", "Net at 128 x 128 (exp/two)",
    ]  # fmt: skip
    assert table.head[2:] == ["voc test", "msrc_subset test", PRINTED[1], PRINTED[3], *PRINTED[4:]]
    assert column(table, "msrc_subset test")["Net (exp/two)"].startswith("75.0")
    assert column(table, "msrc_subset test")["Channel and spatial attention"] == "85.9"


def test_other_scores_have_only_printed_ones_of_their_kind(tmp_path: Path) -> None:
    results = find_results([write(tmp_path / "x" / "y")])
    table = score_table(results, "jaccard_global")
    assert table.head == ["method", "origin", "voc test", PRINTED[1], PRINTED[3], PRINTED[5]]
    assert column(table, "voc test") == {"Net (x/y)": "62.5", "Semantic-aware attention": "-"}
    table = score_table(results, "pixel_accuracy")
    assert table.blocks == [("Ran", [["Net (x/y)", "ran, checkpoints/best.ckpt", "90.0"]])]
    assert score_table(results, "jaccard_distractor").blocks[0][1][0][2] == "-"
    with pytest.raises(CosegError, match="'jaccard_global'"):
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
    table = icoseg_table(find_results([part, folder]))
    assert table.head == ["method", "origin", *groups, "mean"]
    blocks = dict(table.blocks)
    assert list(blocks) == [
        "Ran", "Ran on other images or by another protocol", "Published", "Published, by another protocol",
    ]  # fmt: skip
    assert [row[2:] for row in blocks["Ran"]] == [[f"{10 * k}.0" for k in range(8)] + ["35.0"]]
    (other,) = blocks["Ran on other images or by another protocol"]
    assert other[2:] == ["50.0", *["-"] * 8]  # no mean of a part
    assert len(blocks["Published"]) == 3
    assert blocks["Published"][-1][2:] == ["91.4", "92.4", "87.7", "91.5", "83.6", "95.6", "91.6", "85.7", "89.9"]
    (chen,) = blocks["Published, by another protocol"]
    assert chen[2:] == ["88.3", "91.5", "71.3", "84.4", "76.5", "94.0", "91.8", "90.3", "86.0"]
    assert [title for title, _ in icoseg_table([]).blocks] == list(blocks)[2:]
    with pytest.raises(CosegError, match="iCoseg"):
        icoseg_table(find_results([write(tmp_path / "c")]))


def test_scores_of_grey_maps_stand_beside_those_of_papers(tmp_path: Path) -> None:
    settings = {"dataset": "coca", "split": "all", "images": 1295, "pairs": 0, "groups": 80, "protocol": "cosod"}
    whole = write(tmp_path / "x" / "y", **settings, cosod=cosod(max_f_measure=0.5, s_measure=0.6, mae=0.125))
    table = cosod_table(find_results([whole]))
    ours = [f"coca all, cosod, void background {score}" for score in ("max F", "S", "MAE")]
    assert table.head[2:6] == [*ours, "CoSal2015 max F"] and len(table.head) == 2 + 9
    assert [title for title, _ in table.blocks] == ["Ran, mean of images", "Ran, mean of groups", "Published"]
    assert [rows[0][2:6] for _, rows in table.blocks] == [
        ["0.500", "0.600", "0.125", "-"], ["0.400", "0.500", "0.025", "-"], ["0.680", "0.774", "0.069", "0.920"],
    ]  # fmt: skip
    assert len(table.blocks[2][1]) == 4

    # Other images, or a part, have columns of their own.
    for changes in ({"dataset": "cosod"}, {"images": 1294}, {"complete": False}, {"protocol": "maps"}):
        other = write(tmp_path / "other", **{**settings, **changes}, cosod=cosod())
        table = cosod_table(find_results([other, other / "results.json"]))
        assert len(table.head) == 2 + 12 and "CoCA max F" in table.head
        assert len(table.blocks[0][1]) == 1 and table.blocks[2][1][0][2:5] == ["-"] * 3
    assert [title for title, _ in cosod_table([]).blocks] == ["Published"]
    with pytest.raises(CosegError, match="protocol=cosod"):
        cosod_table(find_results([write(tmp_path / "c")]))
    for block in ({}, [], {"mean_of_images": {}, "mean_of_groups": {}}, cosod(mae="0.1")):
        with pytest.raises(CosegError, match="cosod"):
            find_results([write(tmp_path / "d", cosod=block)])


# formats


def test_markdown(tmp_path: Path) -> None:
    lines = as_markdown(score_table(find_results([write(tmp_path / "a|b", model="Net|work")]))).splitlines()
    rows = [line for line in lines if line.startswith("|")]
    assert {len(re.findall(r"(?<!\\)\|", row)) for row in rows} == {9}
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
    assert rows[0][:4] == ["block", "method", "origin", "voc test"]
    assert {len(row) for row in rows} == {9}
    assert [row[0] for row in rows[1:]] == ["Ran", *["Published"] * 5]
