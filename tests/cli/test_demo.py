from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

Command = Callable[..., tuple[int, str, str]]


def test_summary(command: Command, tmp_path: Path, tiny_overrides: dict[str, tuple[str, ...]]) -> None:
    for _ in range(2):  # it can be repeated
        code, _, err = command("demo", *tiny_overrides["train"], "trainer.max_epochs=1", "panels=0")
        assert code == 0, err
    folder = tmp_path / "runs" / "demo"
    summary = json.loads((folder / "summary.json").read_text())
    for split in ("seen", "unseen"):
        results = json.loads((folder / "test" / f"shapes-{split}-paper" / "results.json").read_text())
        assert summary[split] == results["jaccard"]
        assert summary[f"{split}_distractor"] == results["jaccard_distractor"]
        assert summary["constant"] >= results["baselines"]["constant"]
        assert summary["all_objects"] >= results["baselines"]["all_objects"]
    assert summary["seconds"] > 0


@pytest.mark.parametrize(
    ("override", "code", "words"),
    [
        ("model.pooling=foo", 2, ["model.pooling", "'foo'", "average"]),
        ("model=foo", 1, ["Could not find 'model/foo'"]),  # Hydra's own words and exit code
        ("modle=siamese", 1, ["modle"]),
    ],
)
def test_bad_override(
    override: str, code: int, words: list[str], command: Command, tmp_path: Path, tiny_overrides: dict[str, tuple[str]]
) -> None:
    earlier = tmp_path / "runs" / "demo" / "summary.json"
    earlier.parent.mkdir(parents=True)
    earlier.write_text("of an earlier demo")
    found, out, err = command("demo", *tiny_overrides["train"], override)
    assert found == code
    assert all(word in err for word in words)
    assert "Traceback" not in out + err
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [earlier]
    assert earlier.read_text() == "of an earlier demo"
