"""Export a model: trace, write, check in the runtime, and only then put it where it was asked for."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from coseg.data.datamodule import PairDataModule
from coseg.errors import CosegError, unknown_choice
from coseg.export.check import compare, require_close, sizes_of
from coseg.export.describe import config_of, readme
from coseg.export.folder import export_folder
from coseg.export.formats import SUFFIXES, require_packages, traced, write_onnx, write_torch
from coseg.export.graphs import Graphs, graphs_of, unwrapped
from coseg.export.measure import measure, table
from coseg.export.quantise import quantise
from coseg.export.runtime import load_graphs
from coseg.inference.pretrained import CARD, Pretrained, load_pretrained, save_pretrained
from coseg.json_text import json_text
from coseg.models.network import CosegNetwork
from coseg.models.registry import known_network
from coseg.training.shared import CHECKSUM, CONFIG

FORMATS = (*SUFFIXES, "safetensors")

Tell = Callable[[str], object]


def export_model(
    model: Pretrained,
    formats: Sequence[str],
    out: Path,
    overwrite: bool = False,
    size: int | None = None,
    images: Sequence[Tensor] | None = None,
    half: bool = False,
    tell: Tell = print,
) -> Graphs | None:
    """Write a model into a folder in several formats, each compared with the network in its own runtime.

    Args:
        model: what `load_pretrained` gives.
        formats: some of `FORMATS`.
        out: a folder, made if needed.
        overwrite: where it is not empty.
        size: in place of the model's own, see `coseg.inference.pretrained.settings_of`.
        images: for int8: uint8 (1, 3, H, W), to calibrate with.
        half: the weights of safetensors in half precision; how far that is from the network is told, and no reason to
            refuse.
        tell: is given a line for each check.

    Returns:
        The graphs; None where none were asked for.

    Raises:
        CosegError: the network can't be exported, a package is missing, `out` can't be written or must not be, or a
            logit differs by more than `coseg.export.check.TOLERANCE`. Nothing is written then.
    """
    for form in formats:
        if form not in FORMATS:
            raise unknown_choice("--format", form, FORMATS)
    if images is not None and "onnx" not in formats:
        raise CosegError("int8 is made from ONNX: add onnx to --format.")
    if "onnx" in formats:
        require_packages("onnx", "onnxscript", "onnxruntime")
    sized = _sized(model, size)
    network, mirrored = unwrapped(sized.network)
    wanted = [form for form in SUFFIXES if form in formats]
    graphs = graphs_of(network) if wanted else None
    if mirrored and wanted:
        tell("the network also sees images mirrored: exported is the one within, see README.md for the mirror images")
    with export_folder(out, overwrite, "safetensors" in formats) as folder:
        config: dict[str, Any] = {key: value for key, value in sized.settings.items() if key != CHECKSUM}
        texts: list[str] = []
        if "safetensors" in formats:
            _share(sized, folder, half, tell)
            config, texts = _read(folder / CONFIG), [(folder / CARD).read_text(encoding="utf-8")]
        if graphs is not None:
            differences = _write(network, graphs, wanted, folder, tell)
            config = config_of(config, graphs, network.input_size is not None, mirrored, differences)
            if images is not None:
                exported = load_graphs(folder, "onnx", len(graphs.features), network.input_size)
                quantise(folder, exported, images)
                config["graphs"]["int8"] = {"calibration_images": len(images)}
                tell(f"int8: calibrated with {len(images)} images; --measure tells what it costs")
            texts.append(readme(config, model.source))
        (folder / CONFIG).write_text(json_text(config), encoding="utf-8")
        (folder / CARD).write_text("\n".join(texts), encoding="utf-8")
    return graphs


def _sized(model: Pretrained, size: int | None) -> Pretrained:
    """The model, at `size` or that of its settings."""
    size = model.settings.get("size") if size is None else size
    network = copy.deepcopy(model.network).cpu().float().eval()
    if network.input_size is not None and size is not None:
        network.input_size = size
    return model._replace(network=network, settings={**model.settings, "size": size or network.input_size})


def _share(model: Pretrained, folder: Path, half: bool, tell: Tell) -> None:
    save_pretrained(folder, model.settings["network"], model.network, model.settings, half)
    trust = not known_network(model.settings["network"])  # a class that is imported already: it made the network
    shared = load_pretrained(folder, trust).network
    if model.network.input_size is not None:
        shared.input_size = model.network.input_size
    found = compare(model.network, shared, [(40, 56), (64, 33)])
    most = max(difference for _, difference in found) if half else require_close(found, "safetensors")
    tell(f"safetensors: {'half precision, ' if half else ''}differs by at most {most:.1e}")


def _write(network: CosegNetwork, graphs: Graphs, formats: list[str], folder: Path, tell: Tell) -> dict[str, float]:
    programs = traced(graphs)
    differences = {}
    for form in formats:
        if form == "torch":
            write_torch(programs, folder)
        else:
            write_onnx(programs, graphs, folder)
    free = copy.deepcopy(network)
    if graphs.size is None:
        free.input_size = None  # the size of the images is what is varied
    for form in formats:
        exported = load_graphs(folder, form, len(graphs.features), free.input_size)
        found = compare(free, exported, sizes_of(graphs.stride, graphs.size))
        for words, difference in found:
            tell(f"{form}: {words}: {difference:.1e}")
        differences[form] = require_close(found, form)
        tell(f"{form}: differs by at most {differences[form]:.1e}")
    return differences


def scored(folder: Path, datamodule: PairDataModule, void: str, threads: int = 1) -> str:
    """A table of the scores and times of the ONNX graphs in a folder, and of those of int8 where there are some."""
    config = _read(folder / CONFIG)
    about = config["graphs"]
    size = config["size"] if about["resize"] == "square" else None
    rows = {}
    for name, form in (("float32", "onnx"), ("int8", "int8")):
        if form == "onnx" or form in about:
            rows[name] = measure(load_graphs(folder, form, len(about["features"]), size, threads), datamodule, void)
    return table(rows)


def _read(path: Path) -> dict[str, Any]:
    settings: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return settings
