from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from coseg.export.formats import export_folder


def test_overwriting_leaves_what_is_not_its_own(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    for name in ("notes.txt", "encode.onnx", "encode.int8.onnx"):
        (out / name).write_text("old")
    with export_folder(out, overwrite=True, weights=False) as folder:
        (folder / "encode.onnx").write_text("new")
    assert {file.name: file.read_text() for file in out.iterdir()} == {"notes.txt": "old", "encode.onnx": "new"}
    with pytest.raises(RuntimeError), export_folder(out, overwrite=True, weights=False) as folder:
        (folder / "encode.onnx").write_text("half")
        raise RuntimeError
    assert (out / "encode.onnx").read_text() == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_axes_have_names(exported: Any) -> None:
    onnx = pytest.importorskip("onnx")
    shapes = {}
    for name in ("encode", "cosegment"):
        graph = onnx.load(exported.folder / f"{name}.onnx").graph
        for value in graph.input:
            shapes[value.name] = [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]
    assert shapes["images"] == ["batch", 3, "height", "width"]
    assert shapes["features"] == ["batch", 64, "rows", "columns"]
    assert shapes["kernels"] == ["batch", 64, 3, 3]
