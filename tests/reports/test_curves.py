from pathlib import Path

import pytest
from PIL import Image

from coseg.reports.curves import plot_curves, read_series, running_mean


def test_sparse_rows_become_points(tmp_path: Path) -> None:
    table = tmp_path / "metrics.csv"
    table.write_text(
        "epoch,step,train/loss,val/jaccard,val/jaccard_distractor,val/loss\n"
        "0,9,1.5,,,\n0,19,1.25,,,\n0,19,,0.25,nan,1.0\n1,39,0.5,,,\n1,39,,0.5,0.375,0.75\n1,49,"
    )
    series = read_series(table)
    assert series["train/loss"] == [(9, 1.5), (19, 1.25), (39, 0.5)]
    assert series["val/jaccard"] == [(19, 0.25), (39, 0.5)]
    assert series["val/jaccard_distractor"] == [(39, 0.375)]
    plot_curves(table, tmp_path / "curves.png")
    both = Image.open(tmp_path / "curves.png").size
    table.write_text("epoch,step,train/loss\n" + "".join(f"0,{k},{1 / (k + 1)}\n" for k in range(50)))
    plot_curves(table, tmp_path / "loss.png")
    assert Image.open(tmp_path / "loss.png").size == (both[0] // 2, both[1])


@pytest.mark.parametrize(
    "text", [None, "", "epoch,step\n0,1\n", "epoch,step,lr\n0,1,0.1\n", "epoch,step,val/loss\n0,1,\n"]
)
def test_nothing_to_draw_draws_nothing(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "metrics.csv").write_text(text)
    plot_curves(tmp_path / "metrics.csv", tmp_path / "curves.png")
    assert not (tmp_path / "curves.png").exists()


def test_running_mean() -> None:
    values = [float(k) for k in range(12)]
    assert running_mean(values)[:3] == [0.0, 0.5, 1.0]
    assert running_mean(values)[-1] == sum(range(2, 12)) / 10
