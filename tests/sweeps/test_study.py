from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from coseg.configs import parse_overrides
from coseg.errors import CosegError
from coseg.sweeps import study as study_module
from coseg.sweeps.space import space_of
from coseg.sweeps.study import read_study

WORDS = ["data.workers=0", "optimizer.lr=tag(log,interval(1e-4,1e-2))", "model.kernel_sizes=[3],[3,5]"]


def test_without_optuna_a_study_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(study_module.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(CosegError, match=r"pip install 'coseg\[sweep\]'"):
        read_study(tmp_path)


RECORD = b'{"op_code": 4, "worker_id": "a", "study_id": 0}\n'


JOURNALS = [
    b"", b"\0\xff\xfe\n\0\n", b"[" * 100_000 + b"\n" + RECORD,
    b"5\n", b"[1]\n", b'{"op_code": 99}\n', b"null\n", b"{}\n", RECORD,
    b'{"op_code": "x", "worker_id": 3}\n', b"no json\nat all\n", b'{"op_code":0,"worker_id":"a","study_name":5}\n',
]  # fmt: skip


@pytest.mark.parametrize("journal", JOURNALS, ids=lambda journal: repr(journal[:12]))
def test_a_damaged_journal(journal: bytes, tmp_path: Path) -> None:
    """Reading gives a sentence; an empty one, or one that was cut before its first line, is a new study."""
    (tmp_path / "journal.log").write_bytes(journal)
    with pytest.raises(CosegError, match=r"journal\.log"):
        read_study(tmp_path)
    (tmp_path / "overrides.json").write_text("[]")
    try:
        study_module.open_study(tmp_path, space_of(parse_overrides(WORDS))._replace(fixed=[], searched={}))
    except CosegError as error:
        assert "journal.log" in str(error)


@pytest.mark.parametrize("text", ["", "[[", "5", "{}", "[" * 100_000, "\0"])
def test_damaged_overrides_of_a_study(text: str, tmp_path: Path) -> None:
    (tmp_path / "overrides.json").write_text(text)
    with pytest.raises(CosegError):
        study_module.open_study(tmp_path, space_of(parse_overrides(WORDS)))


def test_a_record_that_was_cut_off_is_taken_away(tmp_path: Path) -> None:
    """It would otherwise be joined with the next one, and no process could read the study again."""
    space = space_of(parse_overrides(WORDS))
    study = study_module.open_study(tmp_path, space)
    study.add_trial(_complete(space, 1e-3))
    journal = tmp_path / "journal.log"
    whole = journal.read_bytes()
    study.add_trial(_complete(space, 2e-3))
    last = journal.read_bytes()
    for kept in (1, 7, len(last) - len(whole) - 1):
        journal.write_bytes(last[: len(whole) + kept])
        again = study_module.open_study(tmp_path, space)
        assert journal.read_bytes().startswith(whole)
        again.add_trial(_complete(space, 3e-3))
        assert [trial.params["optimizer.lr"] for trial in read_study(tmp_path).get_trials()] == [1e-3, 3e-3]


def _complete(space: Any, rate: float) -> Any:
    import optuna

    values = {"optimizer.lr": rate, "model.kernel_sizes": "[3]"}
    return optuna.trial.create_trial(params=values, distributions=space.distributions(), value=0.5)
