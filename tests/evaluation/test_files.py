from pathlib import Path

import pytest

from coseg.files import atomic_path, write_text_atomically


def test_a_file_is_whole_or_as_before(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "file.txt"
    write_text_atomically(path, "first\r\nä\n")
    assert path.read_bytes() == "first\r\nä\n".encode()
    with pytest.raises(RuntimeError), atomic_path(path) as temporary:
        assert temporary.parent == path.parent
        assert temporary.suffix == ".txt"
        temporary.write_text("half")
        raise RuntimeError
    assert path.read_bytes() == "first\r\nä\n".encode()
    with atomic_path(path) as temporary:
        temporary.write_text("second")
        assert path.read_text() == "first\nä\n"
    assert path.read_text() == "second"
    assert list(path.parent.iterdir()) == [path]
