"""The public names of coseg: imported when they are used, documented, and with nothing heavy before."""

from __future__ import annotations

import subprocess
import sys

import pytest

import coseg

NAMES = [name for name in coseg.__all__ if name != "__version__"]


def test_the_names_are_those_of_the_docs() -> None:
    assert set(NAMES) == {
        "CoSegmenter", "CosegNetwork", "CosegTask", "PairDataModule", "PairIndex", "PairScores", "create_network",
        "load_network",
    }  # fmt: skip
    assert set(NAMES) <= set(dir(coseg))


@pytest.mark.parametrize("name", NAMES)
def test_each_is_there_and_documented(name: str) -> None:
    value = getattr(coseg, name)
    assert value.__name__ == name and len(value.__doc__ or "") > 80


def test_importing_coseg_imports_nothing_heavy() -> None:
    program = (
        "import sys, coseg; dir(coseg); "
        "print(sorted({'torch', 'lightning', 'hydra', 'numpy', 'PIL', 'timm'} & set(sys.modules)))"
    )
    process = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert process.stdout.strip() == "[]"


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="nothing"):
        coseg.nothing  # noqa: B018
