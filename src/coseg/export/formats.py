"""The files of an export: graphs as ONNX and as programs of torch.export, in a folder that is complete or absent."""

from __future__ import annotations

import importlib.util
import logging
import os
import re
import shutil
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.export import Dim, ExportedProgram

from coseg.errors import CosegError
from coseg.export.graphs import Graphs
from coseg.files.writing import remove_leftovers, temporary_name
from coseg.hub.settings import WEIGHTS

OPSET = 18
"""Version of the ONNX operators; onnxruntime supports it since 1.14."""

SUFFIXES = {"onnx": ".onnx", "torch": ".pt2"}
"""Format to the suffix of its files."""

_LEAST = {"positions": 4}
"""The smallest length of a free axis of kernels, by its name, where it is above 1."""

GRAPHS = tuple(f"{name}{suffix}" for name in ("encode", "cosegment") for suffix in (".onnx", ".int8.onnx", ".pt2"))
"""All files of graphs that an export may write."""


def require_packages(*names: str) -> None:
    """Check that packages are installed, without importing them.

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
    images = torch.randint(256, (1 if graphs.single else 2, 3, *shape), dtype=torch.uint8)
    with torch.no_grad():
        inputs = _of_several(graphs, graphs.encode(images))
    batch: dict[int, Any] = {} if graphs.single else {0: Dim("batch", min=1)}
    least = graphs.stride + 1
    any_size: dict[int, Any] = {} if graphs.size else {2: Dim("height", min=least), 3: Dim("width", min=least)}
    shapes = []
    rows, columns = Dim("rows", min=2), Dim("columns", min=2)
    for stride in graphs.features.values():
        if not stride:
            shapes.append(dict(batch))
            continue
        factor = graphs.stride // stride  # maps at a smaller stride than the last have more positions
        free: dict[int, Any] = {} if graphs.size else {2: factor * rows, 3: factor * columns}
        shapes.append({**batch, **free})
    for axes in graphs.kernels.values():
        shapes.append({**batch, **{axis: Dim(name, min=_LEAST.get(name, 1)) for axis, name in axes.items()}})
    # Tracing guesses the memory layout of maps, which layer norm needs: a guess must not become a rule about sizes.
    export = partial(torch.export.export, prefer_deferred_runtime_asserts_over_guards=True)
    with quiet():
        return {
            "encode": export(graphs.encode, (images,), dynamic_shapes=({**batch, **any_size},)),
            "cosegment": export(graphs.cosegment, inputs, dynamic_shapes=(tuple(shapes),)),
        }


def _of_several(graphs: Graphs, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """`inputs` with the kernels of two partners where several can be joined: tracing takes a length of 1 as fixed."""
    count = len(graphs.features)
    kernels = (
        torch.cat((kernel, kernel.flip(0)), 1) if 1 in axes else kernel
        for kernel, axes in zip(inputs[count:], graphs.kernels.values(), strict=True)
    )
    return *inputs[:count], *kernels


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
        _name_axes(model, dict(zip((0, 2, 3), axes[name], strict=True)), graphs.kernels)
        onnx.save(model, folder / f"{name}.onnx")


def _name_axes(model: Any, names: Mapping[int, str], kernels: Mapping[str, Mapping[int, str]]) -> None:
    """Name the free axes of the inputs, and rename them in all other values accordingly.

    Args:
        model: is changed.
        names: of the axes, by their place.
        kernels: likewise, of inputs whose axes have other names.
    """
    graph = model.graph
    new_names: dict[str, str] = {}
    for value in graph.input:
        for axis, dim in enumerate(value.type.tensor_type.shape.dim):
            if dim.dim_param.isidentifier():
                new_names[dim.dim_param] = {**names, **kernels.get(value.name, {})}[axis]
    for value in (*graph.input, *graph.output, *graph.value_info):
        for dim in value.type.tensor_type.shape.dim:
            if dim.dim_param:
                dim.dim_param = re.sub(r"[A-Za-z_]\w*", lambda word: new_names.get(word[0], word[0]), dim.dim_param)


@contextmanager
def quiet() -> Iterator[None]:
    """Silence the warnings and log messages that exporters write for their developers."""
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


@contextmanager
def export_folder(out: Path, overwrite: bool, weights: bool) -> Iterator[Path]:
    """A temporary folder beside `out`, which becomes `out` when the block ends well, and is removed otherwise.

    With `overwrite`, files of other names in `out` stay, but graphs of an earlier export are removed.

    Args:
        out: created if needed.
        overwrite: write into a folder that is not empty.
        weights: whether the export writes `WEIGHTS`; if not, they must not be in `out`, because ``config.json``
            describes one model.

    Raises:
        CosegError: `out` can't be written, or holds what must stay.
    """
    check_folder(out, overwrite, weights)
    missing = [folder for folder in out.parents if not folder.exists()]
    remove_leftovers(out.parent)
    temporary = out.with_name(temporary_name(out.name))
    try:
        try:
            temporary.mkdir(parents=True)
        except OSError as error:
            raise _unwritable(out, error) from error
        yield temporary
        try:
            _put(temporary, out)
        except OSError as error:
            raise _unwritable(out, error) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        for folder in missing:  # those that are still empty, the innermost first
            with suppress(OSError):
                folder.rmdir()


def check_folder(out: Path, overwrite: bool, weights: bool) -> None:
    """Check before any work what `export_folder` checks.

    Raises:
        CosegError: `out` holds what must stay, or is a file.
    """
    if out.exists() and not out.is_dir():
        raise CosegError(f"{out} is a file: choose a folder for --out.")
    if not out.is_dir() or not any(out.iterdir()):
        return
    if not overwrite:
        raise CosegError(f"{out} is not empty: choose another --out, or write into it by --overwrite.")
    if not weights and (out / WEIGHTS).exists():
        raise CosegError(
            f"{out} holds {WEIGHTS}, whose config.json would be that of the graphs: add safetensors to --format, or "
            "choose another --out."
        )


def _put(temporary: Path, out: Path) -> None:
    if not out.exists():
        os.replace(temporary, out)
        return
    new = {file.name for file in temporary.iterdir()}
    for name in GRAPHS:
        if name not in new:
            (out / name).unlink(missing_ok=True)
    for file in temporary.iterdir():
        os.replace(file, out / file.name)


def _unwritable(out: Path, error: OSError) -> CosegError:
    return CosegError(f"{out} can't be written ({error.strerror or error}): choose another --out, or make room.")
