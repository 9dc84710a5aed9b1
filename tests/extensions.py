"""The files of docs/extend.md, written to a directory as a user would."""

from __future__ import annotations

import re
from pathlib import Path

PAGE = Path(__file__).resolve().parents[1] / "docs" / "extend.md"
_FILE = re.compile(r"^`mine/(\S+)`\n```\w+\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def write_extensions(folder: Path) -> list[Path]:
    """Write each file that the page shows below ``mine/`` to `folder`."""
    files = []
    for name, text in _FILE.findall(PAGE.read_text(encoding="utf-8")):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        files.append(path)
    return files
