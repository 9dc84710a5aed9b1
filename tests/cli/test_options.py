"""Options of the commands that are not Hydra's: numbers out of range end with exit code 2 before anything is loaded."""

from __future__ import annotations

import argparse
import importlib
import sys
from pathlib import Path

import pytest

from coseg.cli.options import add_trust, config_dir_first, positive, whole

NO_NUMBER = ("foo", "nan", "inf", "", "-1", "1.5", "9" * 30, "9" * 5000, "0x10", "1e3")
POSITIVE = (*NO_NUMBER, "0")

OPTIONS: tuple[tuple[str, list[str], str, tuple[str, ...]], ...] = (
    ("predict", ["a.jpg", "b.jpg"], "--threshold", ("foo", "nan", "inf", "-0.1", "2", "")),
    ("predict", ["a.jpg", "b.jpg"], "--size", (*POSITIVE, "15", "1000000000")),
    ("data", ["show", "shapes"], "--pairs", (*POSITIVE, "1000000000")),
    ("data", ["show", "shapes"], "--seed", (*NO_NUMBER, "4294967296")),
    ("report", ["figures", "x"], "--pairs", (*POSITIVE, "1000000000")),
    ("report", ["compare", "x", "y"], "--pairs", NO_NUMBER),
    ("report", ["compare", "x", "y"], "--resamples", (*POSITIVE, "1000000000")),
    ("report", ["compare", "x", "y"], "--seed", (*NO_NUMBER, "4294967296")),
    ("export", ["--out", "x"], "--size", (*POSITIVE, "1000000000")),
    ("export", ["--out", "x"], "--images", POSITIVE),
    ("export", ["--out", "x"], "--pairs", POSITIVE),
    ("export", ["--out", "x"], "--threads", (*POSITIVE, "1000000")),
    ("page", [], "--port", (*NO_NUMBER, "65536", "99999")),
    ("page", [], "--size", (*POSITIVE, "15", "1000000000")),
    ("calibrate", ["--checkpoint", "x", "--dataset", "voc"], "--pairs", POSITIVE),
    ("calibrate", ["--checkpoint", "x", "--dataset", "voc"], "--groups", NO_NUMBER),
    ("calibrate", ["--checkpoint", "x", "--dataset", "voc"], "--seed", (*NO_NUMBER, "4294967296")),
    ("calibrate", ["--checkpoint", "x", "--dataset", "voc"], "--size", (*POSITIVE, "1000000000")),
    ("calibrate", ["--checkpoint", "x", "--dataset", "voc"], "--threads", (*POSITIVE, "1000000")),
)


@pytest.mark.parametrize(("command", "words", "option", "values"), OPTIONS, ids=lambda part: str(part)[:20])
def test_numbers_out_of_range(
    command: str,
    words: list[str],
    option: str,
    values: tuple[str, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    main = importlib.import_module(command if "." in command else f"coseg.cli.{command}").main
    for value in values:
        with pytest.raises(SystemExit) as leaving:
            main([*words, f"{option}={value}"])
        err = capsys.readouterr().err
        assert leaving.value.code == 2, value
        assert f"argument {option}:" in err and "Traceback" not in err and len(err.splitlines()[-1]) < 6000
    assert not list(tmp_path.iterdir())


def test_ranges() -> None:
    assert [whole(0, 5)(text) for text in ("0", "5", "٣")] == [0, 5, 3]
    assert positive(10)("1e1") == 10
    for parse, text in ((whole(1, 5), "6"), (whole(1), "-1"), (positive(10), "nan"), (positive(10), "0")):
        with pytest.raises(argparse.ArgumentTypeError):
            parse(text)


def test_the_directory_of_configurations_comes_before_the_overrides() -> None:
    words = ["model=mine", "--config-dir", "my dir", "seed=1", "-m"]
    assert config_dir_first(words) == ["--config-dir", "my dir", "model=mine", "seed=1", "-m"]
    assert config_dir_first(["a=1", "--config-dir=d", "b=2"]) == ["--config-dir=d", "a=1", "b=2"]
    assert config_dir_first(["a=1", "-cd"]) == ["-cd", "a=1"]
    assert config_dir_first(["a=1", "b=2"]) == ["a=1", "b=2"]


def test_classes_are_imported_from_a_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path])
    parser = argparse.ArgumentParser()
    add_trust(parser)
    options = parser.parse_args(["--trust", "--config-dir", str(tmp_path)])
    assert options.trust and options.config_dir == tmp_path
    assert sys.path[-1] == str(tmp_path.resolve())
    with pytest.raises(SystemExit, match="2"):
        parser.parse_args(["--config-dir", str(tmp_path / "nowhere")])
    assert parser.parse_args([]).config_dir is None
