"""Files of graphs: ONNX, and programs of torch.export."""

from __future__ import annotations

import importlib.util
import logging
import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch.export import Dim, ExportedProgram

from coseg.errors import CosegError
from coseg.export.graphs import Graphs

OPSET = 18
"""Of ONNX; onnxruntime knows it since 1.14."""

SUFFIXES = {"onnx": ".onnx", "torch": ".pt2"}
"""Of the files of each format."""


def require_packages(*names: str) -> None:
    """Refuse to start what ends for want of a package.

    Raises:
        CosegError: one of them is not installed.
    """
    lacking = [name for name in names if importlib.util.find_spec(name) is None]
    if lacking:
        raise CosegError(f"Exporting to ONNX needs {', '.join(lacking)}: pip install 'coseg[export]'.")


def traced(graphs: Graphs) -> dict[str, ExportedProgram]:
    """Both graphs as programs of torch.export: ``encode`` and ``cosegment``."""
    side = graphs.size or 3 * graphs.stride + 5
    shape = (side, side) if graphs.size else (side, side + 2 * graphs.stride)
    images = torch.randint(256, (2, 3, *shape), dtype=torch.uint8)
    with torch.no_grad():
        inputs = graphs.encode(images)
    batch = Dim("batch", min=1)
    least = graphs.stride + 1
    any_size: dict[int, Any] = {} if graphs.size else {2: Dim("height", min=least), 3: Dim("width", min=least)}
    shapes = []
    rows, columns = Dim("rows", min=2), Dim("columns", min=2)
    for stride in graphs.features.values():
        factor = graphs.stride // stride  # of a map with more positions than the last one
        free: dict[int, Any] = {} if graphs.size else {2: factor * rows, 3: factor * columns}
        shapes.append({0: batch, **free})
    shapes += [{0: batch} for _ in graphs.kernels]
    # Tracing guesses how maps lie in memory, which layer norm asks for: a guess must not become a rule about sizes.
    export = partial(torch.export.export, prefer_deferred_runtime_asserts_over_guards=True)
    with quiet():
        return {
            "encode": export(graphs.encode, (images,), dynamic_shapes=({0: batch, **any_size},)),
            "cosegment": export(graphs.cosegment, inputs, dynamic_shapes=(tuple(shapes),)),
        }


def write_torch(programs: dict[str, ExportedProgram], folder: Path) -> None:
    """Write ``encode.pt2`` and ``cosegment.pt2``."""
    for name, program in programs.items():
        torch.export.save(program, folder / f"{name}.pt2")


def write_onnx(programs: dict[str, ExportedProgram], graphs: Graphs, folder: Path) -> None:
    """Write ``encode.onnx`` and ``cosegment.onnx``, each with its weights inside."""
    import onnx

    ends = {"encode": (["images"], graphs.names), "cosegment": (graphs.names, ["logits"])}
    axes = {"encode": ("batch", "height", "width"), "cosegment": ("batch", "rows", "columns")}
    for name, program in programs.items():
        inputs, outputs = ends[name]
        with quiet():
            made = torch.onnx.export(
                program, input_names=inputs, output_names=outputs, opset_version=OPSET, dynamo=True, verbose=False
            )
        assert made is not None
        model = made.model_proto
        _name_axes(model, dict(zip((0, 2, 3), axes[name], strict=True)))
        onnx.save(model, folder / f"{name}.onnx")


def _name_axes(model: Any, names: Mapping[int, str]) -> None:
    """Give the free axes of the inputs their `names`, and those of everything else accordingly."""
    graph = model.graph
    found: dict[str, str] = {}
    for value in graph.input:
        for axis, dim in enumerate(value.type.tensor_type.shape.dim):
            if dim.dim_param.isidentifier():
                found[dim.dim_param] = names[axis]
    for value in (*graph.input, *graph.output, *graph.value_info):
        for dim in value.type.tensor_type.shape.dim:
            if dim.dim_param:
                dim.dim_param = re.sub(r"[A-Za-z_]\w*", lambda word: found.get(word[0], word[0]), dim.dim_param)


@contextmanager
def quiet() -> Iterator[None]:
    """Keep back what exporters tell their developers."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "torch.export", "torch._export")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
