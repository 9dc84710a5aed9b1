"""The reader that the documentation shows works as it stands there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from facts import naming
from PIL import Image

from coseg.data.pair_index import PairIndex
from coseg.errors import CosegError

DOCS = Path(__file__).resolve().parents[3] / "docs" / "extend.md"


def test_the_reader_of_the_documentation(tmp_path: Path) -> None:
    programs = re.findall(r"^```python\n(.*?)^```$", DOCS.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    (code,) = (program for program in programs if "class BesideReader" in program)
    assert code.count("\n") <= 60
    names: dict[str, Any] = {}
    exec(compile(code, str(DOCS), "exec"), names)
    reader = names["BesideReader"]

    mask = np.zeros((8, 10), np.uint8)
    mask[2:5] = 255
    for group, count in {"boat": 3, "tram": 2, "other": 2}.items():
        (tmp_path / group).mkdir()
        (tmp_path / group / "Thumbs.db").write_bytes(b"stray")
        for k in range(count):
            Image.new("RGB", (10, 8), (40 * k, 0, 0)).save(tmp_path / group / f"{k}.JPG")
            Image.fromarray(mask).save(tmp_path / group / f"{k}_mask.png")
    catalog = reader(tmp_path).read("test")
    assert catalog.ids == ("boat/0", "boat/1", "boat/2", "tram/0", "tram/1")
    assert len(PairIndex(catalog.presence)) == 3 + 1
    assert np.array_equal(catalog.labels(4), np.where(mask > 0, 2, 0))
    assert (catalog.expected, catalog.complete) == (35, False)
    assert list(reader(tmp_path, "all").read("all").class_names) == ["boat", "other", "tram"]
    (tmp_path / "tram" / "1_mask.png").unlink()
    for root, facts in ((tmp_path, ("1.JPG", "no mask")), (tmp_path / "nowhere", ("nowhere", "folder"))):
        with pytest.raises(CosegError, match=naming(*facts)):
            reader(root).read("test")
        assert len(list(reader(root).problems("test"))) == 1
