"""Nothing that a stranger hands over runs: every command, given hostile files, leaves a canary file unmade.

Each payload would make the file if anything resolved, imported or unpickled it. The answer is always one sentence and
exit code 2, within seconds, and without the memory that the file asks for.
"""

from __future__ import annotations

import copy
import io
import json
import os
import pickle
import resource
import shutil
import signal
import struct
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from facts import naming
from PIL import Image
from tiny_networks import network_config, tiny_network

from coseg.errors import CosegError
from coseg.evaluation import predictions
from coseg.hub.load import load_pretrained
from coseg.hub.share import save_pretrained
from coseg.inference.segmenter import CoSegmenter
from coseg.models.encoders.weights import read_state
from coseg.training.run import resumed_config
from coseg.training.task import CosegTask, load_task

SECONDS = 20
"""That a case may take at most; nearly all take hundredths of one."""

MEMORY = 4 * 2**30
"""That a case may ask for at most, beside what the process has."""


@pytest.fixture
def canary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The file that must not be there at the end; a module ``evil_import`` that makes it is on the path."""
    path = tmp_path / "canary"
    modules = tmp_path / "modules"
    modules.mkdir()
    (modules / "evil_import.py").write_text(
        f"from pathlib import Path\nfrom coseg.models.siamese import SiameseNetwork\nPath({str(path)!r}).touch()\n"
        "class Evil(SiameseNetwork): ...\n"
    )
    monkeypatch.syspath_prepend(str(modules))
    yield path
    assert not path.exists(), "a payload ran"


@pytest.fixture(autouse=True)
def _bounded() -> Iterator[None]:
    def late(number: int, frame: Any) -> None:
        raise AssertionError(f"a case took more than {SECONDS} seconds")

    used = next(int(line.split()[1]) for line in Path("/proc/self/status").read_text().splitlines() if "VmSize" in line)
    before, limit = signal.signal(signal.SIGALRM, late), resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (used * 1024 + MEMORY, limit[1]))
    signal.alarm(SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
        resource.setrlimit(resource.RLIMIT_AS, limit)


def run_target(canary: Path) -> str:
    return f"{{_target_: torch.utils.collect_env.run, command: 'touch {canary}'}}"


def interpolations(canary: Path) -> list[str]:
    """One of each resolver, and forms that a search for the plain one may miss."""
    run = run_target(canary)
    return [
        f"${{oc.create:{run}}}",
        f"x ${{oc.create:{run}}}",
        f"\\${{oc.create:{run}}}",
        f'${{oc.decode:"{run}"}}',
        "${oc.env:HOME}",
        "${oc.select:network}",
        "${oc.dict.values:network}",
        "${oc.deprecated:network}",
        "${now:%Y}",
        "${hydra:runtime.cwd}",
        "${coseg.absolute:/}",
        "${coseg.run_dir:a,b,null}",
        "${network}",
        "${.encoder}",
        "${",
    ]


def targets(canary: Path) -> list[dict[str, Any]]:
    """Names of functions, of classes that start programs, and of a module whose import alone is enough."""
    touch = f"touch {canary}"
    return [
        {"_target_": "os.system", "command": touch},
        {"_target_": "posix.system", "_args_": [touch]},
        {"_target_": "subprocess.Popen", "args": touch, "shell": True},
        {"_target_": "subprocess.run", "args": ["touch", str(canary)]},
        {"_target_": "builtins.eval", "_args_": [f"open({str(canary)!r}, 'w')"]},
        {"_target_": "builtins.open", "file": str(canary), "mode": "w"},
        {"_target_": "pathlib.Path.touch", "_args_": [str(canary)]},
        {"_target_": "torch.utils.collect_env.run", "command": touch},
        {"_target_": "torch.hub.load", "repo_or_dir": str(canary.parent), "model": "m", "source": "local"},
        {"_target_": "torch.os.system", "command": touch},
        {"_target_": "torch.optim.optimizer.functools.partial", "_args_": [touch]},
        {"_target_": "lightning.pytorch.utilities.model_helpers.os.system", "command": touch},
        {"_target_": "coseg.training.run.subprocess.Popen", "args": touch, "shell": True},
        {"_target_": "coseg.cli.train.main"},
        {"_target_": "hydra.utils.instantiate", "config": {"_target_": "os.system", "command": touch}},
        {"_target_": "hydra.utils.get_method", "path": "os.system"},
        {"_target_": "hydra._internal.utils._locate", "path": "evil_import"},
        {"_target_": "evil_import.Evil"},
        {"_target_": "evil_import"},
        {"_target_": "evil_import.Evil", "_partial_": True},
        {"_target_": ["os", "system"]},
        {"_target_": {"_target_": "os.system", "command": touch}},
        {"_target_": "../../evil_import.Evil"},
        {"_target_": ""},
        {"_target_": None},
    ]


def positions(data: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where something stands in plain data: every value, inner ones too."""
    if path:
        yield path
    inner = data.items() if isinstance(data, Mapping) else enumerate(data) if isinstance(data, list) else ()
    for key, value in inner:
        yield from positions(value, (*path, key))


def replaced(data: Any, path: tuple[Any, ...], value: Any) -> Any:
    data = copy.deepcopy(data)
    place = data
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return data


def renamed(data: Any, path: tuple[Any, ...], key: str) -> Any:
    """`data` with one more key in the dictionary, or one more entry in the list, in which `path` ends."""
    data = copy.deepcopy(data)
    place = data
    for part in path[:-1]:
        place = place[part]
    if isinstance(place, list):
        place.append(key)
    else:
        place[key] = 1
    return data


def timm_encoder(name: str, **settings: Any) -> dict[str, Any]:
    return {"_target_": "coseg.models.encoders.timm.TimmEncoder", "model_name": name, **settings}


def nested(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = {"a": value}
    return value


# --- what there is to attack ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def good_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("good") / "model"
    config = network_config()
    save_pretrained(folder, config, tiny_network(config), {"size": 32})
    return folder


@pytest.fixture
def model(good_model: Path, tmp_path: Path) -> Path:
    """A shared model that is the test's own."""
    return Path(shutil.copytree(good_model, tmp_path / "model"))


@pytest.fixture
def settings(model: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((model / "config.json").read_text())
    return found


@pytest.fixture(scope="module")
def good_run(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("good") / "shapes" / "run"
    shutil.copytree(trained, folder)
    return folder


@pytest.fixture
def run(good_run: Path, tmp_path: Path) -> Path:
    """A run folder that is the test's own."""
    return Path(shutil.copytree(good_run, tmp_path / "run"))


@pytest.fixture
def checkpoint(run: Path) -> Path:
    return run / "checkpoints" / "best.ckpt"


@pytest.fixture
def photographs(tmp_path: Path) -> list[str]:
    paths = [tmp_path / "a.png", tmp_path / "b.png"]
    for path, colour in zip(paths, ("red", "blue"), strict=True):
        Image.new("RGB", (40, 32), colour).save(path)
    return [str(path) for path in paths]


def write_checkpoint(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    contents = torch.load(path, weights_only=True)
    change(contents)
    torch.save(contents, path)


# --- the entry points ----------------------------------------------------------------------------------------------

Call = Callable[[str, str], tuple[int, str]]


@pytest.fixture
def call(
    command: Callable[..., Any],
    photographs: list[str],
    tmp_path: Path,
    tiny_overrides: dict[str, tuple[str, ...]],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Call:
    """``call(entry, path)``: open a model by one of the ways that there are; the exit code and what was printed."""
    from coseg.cli import calibrate, export, page, predict

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("a page was served with a hostile model")

    monkeypatch.setattr("coseg.page.server.serving", refuse)

    def called(entry: str, path: str) -> tuple[int, str]:
        if entry == "test":
            outcome = command("test", *tiny_overrides["test"], f"ckpt={path}", "panels=0", f"runs={tmp_path}/runs")
            return outcome.code, outcome.out + outcome.err
        if entry == "train":
            outcome = command("train", f"resume={path}")
            return outcome.code, outcome.out + outcome.err
        mains: dict[str, tuple[Callable[[list[str]], None], list[str]]] = {
            "predict": (predict.main, [*photographs, "--checkpoint", path, "--out", str(tmp_path / "out")]),
            "export": (export.main, [path, "--out", str(tmp_path / "exported")]),
            "demo": (page.main, ["--checkpoint", path, "--no-browser", "--port", "0"]),
            "calibrate": (calibrate.main, ["--checkpoint", path, "--dataset", "shapes", "--out", str(tmp_path / "c")]),
        }
        main, arguments = mains[entry]
        capsys.readouterr()
        with pytest.raises(SystemExit) as leaving:
            main(arguments)
        captured = capsys.readouterr()
        return int(leaving.value.code or 0), captured.out + captured.err

    return called


def refused(outcome: tuple[int, str]) -> None:
    code, text = outcome
    assert code == 2, text
    assert "Traceback" not in text


COMMANDS = ("predict", "test", "export", "demo", "calibrate")


# --- shared models -------------------------------------------------------------------------------------------------


def test_the_untouched_model_and_run_are_taken(
    model: Path, run: Path, checkpoint: Path, call: Call, canary: Path
) -> None:
    for path in (model, model / "model.safetensors", checkpoint, run):
        load_pretrained(path)
    assert call("predict", str(model))[0] == 0
    assert resumed_config(run).seed == 0


@pytest.mark.parametrize("entry", COMMANDS)
@pytest.mark.parametrize("payload", ["interpolation", "target", "import"])
def test_each_command_with_a_hostile_folder(
    entry: str, payload: str, model: Path, settings: dict[str, Any], call: Call, canary: Path
) -> None:
    if payload == "interpolation":
        settings["network"]["input_size"] = interpolations(canary)[0]
    else:
        settings["network"]["encoder"] = targets(canary)[7] if payload == "target" else {"_target_": "evil_import.Evil"}
    (model / "config.json").write_text(json.dumps(settings))
    refused(call(entry, str(model)))
    refused(call(entry, str(model / "model.safetensors")))
    assert not canary.exists(), "a payload ran"


def test_interpolations_anywhere_in_a_folder(model: Path, settings: dict[str, Any], canary: Path) -> None:
    settings["training"] = {"notes": "n", "scores": [{"what": "w"}]}
    for path in positions(settings):
        for payload in interpolations(canary)[:1] if len(path) > 1 else interpolations(canary):
            for hostile in (replaced(settings, path, payload), renamed(settings, path, payload)):
                (model / "config.json").write_text(json.dumps(hostile))
                with pytest.raises(CosegError, match=naming("resolved")) as error:
                    load_pretrained(model)
                assert "config.json" in str(error.value)


def test_targets_anywhere_in_a_folder(model: Path, settings: dict[str, Any], canary: Path) -> None:
    for path in (("network",), ("network", "encoder"), ("network", "input_size"), ("network", "kernel_sizes")):
        for payload in targets(canary):
            (model / "config.json").write_text(json.dumps(replaced(settings, path, payload)))
            with pytest.raises(CosegError):
                load_pretrained(model)


@pytest.mark.parametrize("key", ["_partial_", "_args_", "_recursive_", "_convert_", "__class__", "self", "weights"])
def test_keys_of_hydra_in_a_folder(key: str, model: Path, settings: dict[str, Any], canary: Path) -> None:
    settings["network"][key] = True
    (model / "config.json").write_text(json.dumps(settings))
    with pytest.raises(CosegError):
        load_pretrained(model)


def test_weights_that_a_model_would_fetch_or_read_are_left_alone(
    model: Path, settings: dict[str, Any], canary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", None)
    expected = load_pretrained(model).network.state_dict()
    for weights in ("IMAGENET1K_V1", "/etc/passwd", str(canary)):
        settings["network"]["encoder"]["weights"] = weights
        (model / "config.json").write_text(json.dumps(settings))
        loaded = load_pretrained(model).network.state_dict()
        assert loaded.keys() == expected.keys()
        assert all(torch.equal(loaded[key], tensor) for key, tensor in expected.items())


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("size",), 10**9),
        (("size",), "32"),
        (("threshold",), 1e300),
        (("network", "input_size"), 10**9),
        (("network", "kernel_sizes"), [999_999]),
        (("network", "kernel_sizes"), [3] * 100_000),
        (("network", "kernel_sizes"), [[3]]),
        (("network", "decoder_channels"), [10**9, 4, 4]),
        (("network", "decoder_channels"), [8192, 8192, 8192]),
        (("network", "encoder", "width"), 1e9),
        (("network", "encoder", "width"), 16.0),
        (("network", "encoder", "width"), -1),
        (("network", "encoder", "stride"), 10**12),
        (("network", "encoder"), timm_encoder("resnet18", out_indices=[10**9])),
        (("network", "encoder"), timm_encoder("resnet18", output_stride=10**9)),
        (("network", "encoder"), timm_encoder("vit_giant_patch14_dinov2")),
        (("network", "encoder"), timm_encoder("hf-hub:owner/name")),
        (("network", "encoder"), {"_target_": "coseg.models.encoders.vit.ViTEncoder", "depth": 10**9}),
        (("network", "encoder"), network_config()),
        (("network",), {"_target_": "coseg.models.mirrored.MirroredNetwork", "network": nested(3)}),
        (("training",), [1]),
        (("training",), {"scores": 1}),
        (("cooccurrence",), {"names": 1}),
    ],
    ids=lambda value: str(value)[:40],
)
def test_numbers_are_bounded_before_memory_is_taken(
    path: tuple[str, ...], value: Any, model: Path, settings: dict[str, Any], canary: Path
) -> None:
    (model / "config.json").write_text(json.dumps(replaced(settings, path, value)))
    with pytest.raises(CosegError):
        load_pretrained(model)


def test_networks_in_networks(model: Path, settings: dict[str, Any], canary: Path) -> None:
    for levels in (2, 40, 400):
        network = settings["network"]
        for _ in range(levels):
            network = {"_target_": "coseg.models.mirrored.MirroredNetwork", "network": network}
        (model / "config.json").write_text(json.dumps(settings | {"network": network}))
        with pytest.raises(CosegError):
            load_pretrained(model)


TEXTS = [
    "[" * 100_000,
    "{" * 100_000,
    "[" * 100_000 + "]" * 100_000,
    '{"a":' * 400 + "1" + "}" * 400,
    '{"format": ' + "9" * 100_000 + "}",
    '{"format": 1e999}',
    '{"format": NaN}',
    '"' + "x" * 100_000,
    "\x00\x01\x02",
    "",
    "null",
]


@pytest.mark.parametrize("text", TEXTS, ids=lambda text: repr(text[:12]))
def test_texts_that_are_no_configuration(text: str, model: Path, run: Path, canary: Path) -> None:
    (model / "config.json").write_text(text)
    with pytest.raises(CosegError, match=r"config\.json"):
        load_pretrained(model)
    (run / "config.yaml").write_text(text)
    with pytest.raises(CosegError, match=r"config\.yaml"):
        resumed_config(run)


def test_files_without_end(model: Path, run: Path, canary: Path) -> None:
    for path in (model / "config.json", run / "config.yaml"):
        with path.open("r+b") as file:
            file.truncate(2**40)  # takes no room on the disk
    with pytest.raises(CosegError, match="bytes"):
        load_pretrained(model)
    with pytest.raises(CosegError, match="bytes"):
        resumed_config(run)


def header(contents: Mapping[str, Any], data: bytes = b"") -> bytes:
    text = json.dumps(contents).encode()
    return struct.pack("<Q", len(text)) + text + data


@pytest.mark.parametrize(
    "contents",
    [
        b"",
        b"\x00" * 8,
        b"\xff" * 64,
        struct.pack("<Q", 2**62) + b"{}",
        struct.pack("<Q", 100_000) + b"[" * 100_000,
        header({"a": {"dtype": "F32", "shape": [10**12], "data_offsets": [0, 4 * 10**12]}}),
        header({"a": {"dtype": "F32", "shape": [2**40, 2**40], "data_offsets": [0, 4]}}, b"0000"),
        header({"a": {"dtype": "F32", "shape": [10**30], "data_offsets": [0, 4]}}, b"0000"),
        header({"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}, b"0000"),
        header({"a": {"dtype": "F999", "shape": [1], "data_offsets": [0, 4]}}, b"0000"),
        header({"a": {"dtype": "F32", "shape": [0] * 1000, "data_offsets": [0, 0]}}),
    ],
    ids=range(11),
)
def test_headers_that_are_absurd(contents: bytes, model: Path, call: Call, canary: Path) -> None:
    (model / "model.safetensors").write_bytes(contents)
    with pytest.raises(CosegError, match=r"model\.safetensors"):
        load_pretrained(model)


def test_a_model_from_the_hub_is_no_better(
    model: Path, settings: dict[str, Any], canary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda *_, **__: str(model))
    CoSegmenter.from_pretrained("ada/birds", device="cpu")
    for payload in [{**settings["network"], "input_size": interpolations(canary)[0]}, *targets(canary)]:
        (model / "config.json").write_text(json.dumps(settings | {"network": payload}))
        for source in ("ada/birds", "ada/birds@main", model):
            with pytest.raises(CosegError):
                CoSegmenter.from_pretrained(source)


def test_what_was_opened_is_saved_as_it_was(model: Path, tmp_path: Path, canary: Path) -> None:
    network, settings, _ = load_pretrained(model)
    for hostile in (interpolations(canary)[0], {"_target_": "evil_import.Evil"}):
        described = {**settings["network"], "encoder": hostile}
        with pytest.raises(CosegError):
            save_pretrained(tmp_path / "new", described, network)
            load_pretrained(tmp_path / "new")


# --- checkpoints ---------------------------------------------------------------------------------------------------


class Runs:
    """A pickle that makes the canary."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.canary}",)


def refused_checkpoint(checkpoint: Path, contents: Mapping[str, Any], parameters: Any) -> None:
    torch.save({**contents, "hyper_parameters": parameters}, checkpoint)
    for load in (load_task, CosegTask.load_from_checkpoint):
        with pytest.raises(CosegError, match=r"best\.ckpt"):
            load(checkpoint)


def test_interpolations_in_a_checkpoint(checkpoint: Path, canary: Path) -> None:
    contents = torch.load(checkpoint, weights_only=True)
    given, payloads = contents["hyper_parameters"], interpolations(canary)
    for k, path in enumerate(positions(given)):
        refused_checkpoint(checkpoint, contents, replaced(given, path, payloads[k % len(payloads)]))
    for path in (("void",), ("network", "encoder"), ("network", "encoder", "width"), ("class_names", 0)):
        refused_checkpoint(checkpoint, contents, renamed(given, path, payloads[0]))
    assert not canary.exists(), "a payload ran"


def test_targets_in_a_checkpoint(checkpoint: Path, canary: Path) -> None:
    contents = torch.load(checkpoint, weights_only=True)
    contents["state_dict"] = {}
    for path in (("network",), ("network", "encoder")):
        for payload in targets(canary):
            refused_checkpoint(checkpoint, contents, replaced(contents["hyper_parameters"], path, payload))
    assert not canary.exists(), "a payload ran"


def test_hyper_parameters_of_other_types(checkpoint: Path, canary: Path) -> None:
    contents = torch.load(checkpoint, weights_only=True)
    shared: Any = []
    for _ in range(40):  # 2 to the 40th in a few bytes
        shared = [shared, shared]
    for wrong in (
        {"class_names": shared},
        {"class_names": nested(300)},
        {"class_names": ["a"] * 20_000},
        {"class_names": "abc"},
        {"class_names": [1]},
        {"network": nested(300)},
        {"network": None},
        {"trust": True},
        {"_instantiator": "os.system"},
        {"semantic": "x"},
        {"semantic": float("nan")},
        {"void": {}},
        {"void": []},
        {"channels_last": "yes"},
        {b"x": 1},
        {"optimizer": [1]},
    ):
        refused_checkpoint(checkpoint, contents, contents["hyper_parameters"] | wrong)
    for parameters in ([1], None, {}):
        refused_checkpoint(checkpoint, contents, parameters)
    assert not canary.exists(), "a payload ran"


def test_what_only_a_training_needs_is_not_imported(checkpoint: Path, canary: Path) -> None:
    payload = {"_target_": "evil_import.Evil"}
    write_checkpoint(checkpoint, lambda found: found["hyper_parameters"].update(optimizer=payload, schedule=payload))
    task = CosegTask.load_from_checkpoint(checkpoint)
    load_pretrained(checkpoint)
    with pytest.raises(CosegError, match="evil_import"):
        task.configure_optimizers()


@pytest.mark.parametrize("entry", COMMANDS)
def test_each_command_with_a_hostile_checkpoint(entry: str, checkpoint: Path, call: Call, canary: Path) -> None:
    write_checkpoint(
        checkpoint,
        lambda found: found["hyper_parameters"]["network"]["encoder"].update(width=interpolations(canary)[0]),
    )
    refused(call(entry, str(checkpoint)))
    assert not canary.exists(), "a payload ran"


@pytest.mark.parametrize("entry", COMMANDS)
def test_each_command_with_a_pickle(entry: str, checkpoint: Path, call: Call, canary: Path) -> None:
    torch.save({"state_dict": Runs(canary)}, checkpoint)
    refused(call(entry, str(checkpoint)))
    assert not canary.exists(), "a payload ran"


def test_pickles_in_every_wrapping(checkpoint: Path, tmp_path: Path, canary: Path) -> None:
    contents = torch.load(checkpoint, weights_only=True)
    for wrapped in (
        contents | {"state_dict": Runs(canary)},
        contents | {"callbacks": [Runs(canary)]},
        contents | {"hyper_parameters": {"network": Runs(canary)}},
        Runs(canary),
    ):
        files = [io.BytesIO(), io.BytesIO()]
        torch.save(wrapped, files[0])
        torch.save(wrapped, files[1], _use_new_zipfile_serialization=False)
        for data in (*(file.getvalue() for file in files), pickle.dumps(wrapped)):
            checkpoint.write_bytes(data)
            with pytest.raises(CosegError, match=r"best\.ckpt"):
                load_task(checkpoint)
            (tmp_path / "weights.pth").write_bytes(data)
            with pytest.raises(CosegError, match=r"weights\.pth"):
                read_state(str(tmp_path / "weights.pth"), "one", "nothing")


def test_archives_that_unpack_to_more(checkpoint: Path, canary: Path) -> None:
    good = checkpoint.read_bytes()
    with zipfile.ZipFile(io.BytesIO(good)) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    first = next(iter(parts)).partition("/")[0]
    with zipfile.ZipFile(checkpoint, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in parts.items():
            archive.writestr(name, data)
        archive.writestr(f"{first}/data/bomb", b"\x00" * 2**26)
    with pytest.raises(CosegError, match=r"best\.ckpt"):
        load_task(checkpoint)
    for end in (0, 10, len(good) // 2, len(good) - 10):
        checkpoint.write_bytes(good[:end])
        with pytest.raises(CosegError, match=r"best\.ckpt"):
            load_task(checkpoint)


def test_tensors_that_stand_for_more(checkpoint: Path, canary: Path) -> None:
    large = torch.zeros(1).expand(10**12)
    good = torch.load(checkpoint, weights_only=True)
    for key in (next(iter(good["state_dict"])), "network.extra"):
        torch.save(good | {"state_dict": {**good["state_dict"], key: large}}, checkpoint)
        with pytest.raises(CosegError, match=r"best\.ckpt"):
            load_task(checkpoint)
    for state in ({"a": 1}, {1: torch.zeros(1)}, [1], None, {}):
        torch.save(good | {"state_dict": state}, checkpoint)
        with pytest.raises(CosegError, match=r"best\.ckpt"):
            load_task(checkpoint)
    for step in ("x", -1, True, None, torch.zeros(2)):
        torch.save(good | {"global_step": step}, checkpoint)
        with pytest.raises(CosegError, match=r"best\.ckpt"):
            load_task(checkpoint)


def test_lists_in_lists(checkpoint: Path, canary: Path) -> None:
    """100,000 of them, which no Python makes by itself."""
    levels = 100_000
    deep = b"\x80\x02" + b"]" * levels + b"a" * (levels - 1) + b"."
    with zipfile.ZipFile(checkpoint) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(checkpoint, "w", zipfile.ZIP_STORED) as archive:
        for name, data in parts.items():
            archive.writestr(name, deep if name.endswith("data.pkl") else data)
    with pytest.raises(CosegError, match=r"best\.ckpt"):
        load_task(checkpoint)


def test_numbers_of_a_checkpoint_are_bounded(checkpoint: Path, canary: Path) -> None:
    good = torch.load(checkpoint, weights_only=True)
    for path, value in (
        (("network", "encoder", "width"), 1e9),
        (("network", "encoder", "width"), 16.0),
        (("network", "input_size"), 10**9),
        (("network", "kernel_sizes"), [999_999]),
    ):
        torch.save(good | {"hyper_parameters": replaced(good["hyper_parameters"], path, value)}, checkpoint)
        with pytest.raises(CosegError, match=r"best\.ckpt"):
            load_task(checkpoint)


# --- run folders ---------------------------------------------------------------------------------------------------


def run_places(config: dict[str, Any]) -> list[tuple[Any, ...]]:
    """Where a configuration has, or may get, an object."""
    groups = [("model",), ("model", "encoder"), ("optimizer",), ("schedule",), ("trainer",), ("data",)]
    groups += [("trainer", "strategy"), ("trainer", "plugins"), ("trainer", "profiler"), ("data", "reader")]
    groups += [("data", "sampler"), ("data", "augmentation"), ("augmentation", "transforms", 0), ("dataset", "reader")]
    groups += [("data", "augmentation", "transforms", 1), ("callbacks", "x"), ("logger", "x"), ("logger", "csv")]
    return [path for path in groups if path[0] in config]


def test_a_run_names_only_what_belongs_into_one(run: Path, canary: Path) -> None:
    good = yaml.safe_load((run / "config.yaml").read_text())
    for place, path in enumerate(run_places(good)):
        for number, payload in enumerate(targets(canary)):
            if number not in (7, 17) and (place + number) % 4:  # a quarter of all, the two plain ones everywhere
                continue
            hostile = replaced(good, path, payload) | {"trust": True}  # the file's own word for it does not count
            (run / "config.yaml").write_text(json.dumps(hostile))
            with pytest.raises(CosegError, match=r"config\.yaml.*trust=true"):
                resumed_config(run)


def test_a_run_resolves_nothing(run: Path, canary: Path) -> None:
    good = yaml.safe_load((run / "config.yaml").read_text())
    for path in positions(good):
        if len(path) > 2:
            continue
        for hostile in (
            replaced(good, path, interpolations(canary)[0]),
            renamed(good, path, interpolations(canary)[0]),
        ):
            (run / "config.yaml").write_text(yaml.safe_dump(hostile))
            for trust in (False, True):
                with pytest.raises(CosegError, match=naming("resolved")):
                    resumed_config(run, trust)


YAMLS = [
    "a: &x [1]\nb: *x\n",
    "a: &a [x, x]\nb: &b [*a, *a]\nc: &c [*b, *b]\n",
    "!!python/object/apply:os.system ['touch CANARY']\n",
    "a: !!python/object/new:os.system ['touch CANARY']\n",
    "a: !!python/name:os.system\n",
    "a: !!python/module:evil_import\n",
    "a: !!binary eA==\n",
    "- " * 100_000,
    "a: [\n",
]


@pytest.mark.parametrize("text", YAMLS, ids=lambda text: text[:24])
def test_yaml_that_is_more_than_data(text: str, run: Path, canary: Path) -> None:
    (run / "config.yaml").write_text(text.replace("CANARY", str(canary)))
    for trust in (False, True):
        with pytest.raises(CosegError, match=r"config\.yaml"):
            resumed_config(run, trust)


def test_resuming_a_hostile_run(run: Path, call: Call, canary: Path) -> None:
    (run / "finished.json").unlink(missing_ok=True)  # or nothing more is looked at than that
    good = (run / "config.yaml").read_text()
    config = yaml.safe_load(good)
    for hostile in (
        replaced(config, ("callbacks",), {"x": targets(canary)[7]}),
        replaced(config, ("seed",), interpolations(canary)[0]),
        replaced(config, ("data", "reader"), {"_target_": "evil_import.Evil"}),
        replaced(config, ("model", "encoder", "width"), 16.0),
        replaced(config, ("model", "encoder", "width"), 1e9),
        replaced(config, ("seed",), "???"),
        nested(400),
    ):
        (run / "config.yaml").write_text(json.dumps(hostile))
        refused(call("train", str(run)))
    (run / "config.yaml").write_text(good)
    for payload in (Runs(canary), {"state_dict": {}, "hyper_parameters": {}, "global_step": Runs(canary)}):
        torch.save(payload, run / "checkpoints" / "last.ckpt")
        refused(call("train", str(run)))
    assert not canary.exists(), "a payload ran"


# --- results, sweeps, studies --------------------------------------------------------------------------------------


@pytest.fixture
def results(run: Path, tmp_path: Path) -> Path:
    """The folder of a test as `coseg-test` leaves it, as far as the reports look before they open the model."""
    folder = run / "test" / "shapes-seen-paper"
    folder.mkdir(parents=True, exist_ok=True)
    config = yaml.safe_load((run / "config.yaml").read_text())
    chosen = {key: config[key] for key in ("dataset", "data", "protocol", "trainer")}
    chosen |= {"ckpt": str(run / "checkpoints" / "best.ckpt"), "split": "seen", "input_size": None, "trust": True}
    (folder / "config.yaml").write_text(yaml.safe_dump(chosen))
    scores = ("jaccard", "jaccard_class_mean", "jaccard_global", "jaccard_distractor", "pixel_accuracy")
    values: dict[str, Any] = dict.fromkeys(scores, 0.5)
    values |= {"dataset": "shapes", "split": "seen", "images": 16, "pairs": 1, "complete": True, "protocol": "paper"}
    values |= {"void": "background", "intervals": {}, "per_class": {"a": 0.5}, "model": "m", "checkpoint": "c"}
    (folder / "results.json").write_text(json.dumps(values))
    from coseg.reports.records import PairRecord, write_records

    row = {field: 0.5 for field in PairRecord._fields}
    row |= {"i": 0, "j": 1, "id_a": "a", "id_b": "b", "classes": ("a",)}
    row |= {field: False for field in PairRecord._fields if "distractor" in field}
    write_records(folder, [PairRecord(**row)])
    return folder


def report(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str]:
    from coseg.cli.report import main

    capsys.readouterr()
    with pytest.raises(SystemExit) as leaving:
        main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return int(leaving.value.code or 0), captured.out + captured.err


@pytest.mark.parametrize("what", ["figures"])
def test_reports_open_nothing_of_a_hostile_folder(
    what: str, results: Path, tmp_path: Path, canary: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = yaml.safe_load((results / "config.yaml").read_text())
    for hostile in (
        replaced(good, ("data", "reader"), targets(canary)[7]),
        replaced(good, ("dataset", "reader"), {"_target_": "evil_import.Evil"}),
        replaced(good, ("ckpt",), interpolations(canary)[0]),
        replaced(good, ("split",), interpolations(canary)[0]),
        nested(400),
    ):
        (results / "config.yaml").write_text(json.dumps(hostile))
        with pytest.raises(CosegError):
            predictions.tested_config(results)
        refused(report(capsys, what, results, *(["--out", tmp_path / "figures"] if what == "figures" else [])))


@pytest.mark.parametrize("what", ["table", "figures", "compare"])
def test_hostile_results(
    what: str, results: Path, tmp_path: Path, canary: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = json.loads((results / "results.json").read_text())
    places = [results, results] if what == "compare" else [results]
    out = ["--out", tmp_path / "figures"] if what == "figures" else []
    texts = [json.dumps(replaced(good, ("model",), interpolations(canary)[0])), "[" * 100_000, json.dumps(nested(400))]
    for text in texts:
        (results / "results.json").write_text(text)
        if what != "compare":  # which does not read it
            refused(report(capsys, what, *places, *out))
        else:
            code, printed = report(capsys, what, *places, *out)
            assert code in (0, 2)
            assert "Traceback" not in printed


@pytest.fixture
def sweep(good_run: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "sweep"
    for number in ("0", "1"):
        job = Path(shutil.copytree(good_run, folder / number))
        environment = [{"overrides": [f"seed={number}"], "choices": {"model": "siamese"}}]
        (job / "environment.json").write_text(json.dumps(environment))
    return folder


def test_a_hostile_sweep(sweep: Path, canary: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert report(capsys, "sweep", sweep)[0] == 0
    shutil.rmtree(sweep / "report")
    config = yaml.safe_load((sweep / "0" / "config.yaml").read_text())
    environment = json.loads((sweep / "0" / "environment.json").read_text())
    payload = f"callbacks=${{oc.create:{run_target(canary)}}}"
    for job in (sweep / "0", sweep / "1"):
        (job / "environment.json").write_text(json.dumps(replaced(environment, (0, "overrides"), [payload, "seed=1"])))
        (job / "config.yaml").write_text(yaml.safe_dump(replaced(config, ("callbacks",), {"x": targets(canary)[0]})))
    refused(report(capsys, "sweep", sweep))  # what would be written is for coseg-train to run
    for job in (sweep / "0", sweep / "1"):
        (job / "config.yaml").write_text(yaml.safe_dump(config))
        (job / "environment.json").write_text(json.dumps(replaced(environment, (0, "choices"), {"model": "../x y"})))
    refused(report(capsys, "sweep", sweep))
    for text in ("[" * 100_000, "{}", "1", "", "[1]"):
        (sweep / "1" / "environment.json").write_text(text)
        refused(report(capsys, "sweep", sweep))
    (sweep / "1" / "failed.json").write_text('{"code": 1}')
    refused(report(capsys, "sweep", sweep))


def test_a_hostile_study(
    tmp_path: Path, canary: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    optuna = pytest.importorskip("optuna")
    from coseg.cli.sweep import main
    from coseg.sweeps.study import NAME, OVERRIDES, TRIALS_LOG

    monkeypatch.setattr("coseg.sweeps.search.run_child", None)  # no trial may start
    folder = tmp_path / "studies" / "s"
    folder.mkdir(parents=True)
    words = ["seed=1,2"]
    arguments = [f"study.runs={folder.parent}", "study.name=s", "study.trials=1", *words]

    def searched() -> tuple[int, str]:
        capsys.readouterr()
        with pytest.raises(SystemExit) as leaving:
            main(arguments)
        captured = capsys.readouterr()
        return int(leaving.value.code or 0), captured.out + captured.err

    for parameters in (
        {"callbacks": optuna.distributions.CategoricalDistribution([f"{{x:{run_target(canary)}}}"])},
        {"seed": optuna.distributions.CategoricalDistribution([interpolations(canary)[0]])},
    ):
        (folder / OVERRIDES).write_text(json.dumps(words))
        (folder / TRIALS_LOG).unlink(missing_ok=True)
        storage = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(folder / TRIALS_LOG)))
        study = optuna.create_study(study_name=NAME, storage=storage, direction="maximize")
        study.ask(parameters)
        refused(searched())
    for text in ("[" * 100_000, "", '{"a": 1}'):
        (folder / OVERRIDES).write_text(text)
        refused(searched())


# --- a pipe in place of each file ----------------------------------------------------------------------------------


def pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_pipe_in_a_shared_model(name: str, model: Path, call: Call, canary: Path) -> None:
    pipe(model / name)
    for entry in COMMANDS:
        refused(call(entry, str(model)))
    with pytest.raises(CosegError):
        load_pretrained(model / "model.safetensors")


@pytest.mark.parametrize("name", ["config.yaml", "checkpoints/last.ckpt", "environment.json"])
def test_a_pipe_in_a_run(name: str, run: Path, call: Call, canary: Path) -> None:
    pipe(run / name)
    refused(call("train", str(run)))
    assert not canary.exists(), "a payload ran"


def test_a_pipe_as_a_checkpoint(checkpoint: Path, run: Path, tmp_path: Path, call: Call, canary: Path) -> None:
    pipe(checkpoint)
    for entry in COMMANDS:
        refused(call(entry, str(checkpoint)))
        if entry != "test":
            refused(call(entry, str(run)))
    with pytest.raises(CosegError):
        CosegTask.load_from_checkpoint(checkpoint)
    with pytest.raises(CosegError):
        read_state(str(checkpoint), "one", "nothing")
    for place in ("/dev/zero", str(tmp_path)):
        with pytest.raises(CosegError):
            load_task(place)


@pytest.mark.parametrize("name", ["config.yaml", "results.json", "pairs.csv"])
def test_a_pipe_in_results(
    name: str, results: Path, tmp_path: Path, canary: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pipe(results / name)
    refused(report(capsys, "figures", results, "--out", tmp_path / "figures"))
    assert not canary.exists(), "a payload ran"


def test_a_pipe_in_a_sweep(sweep: Path, canary: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pipe(sweep / "1" / "environment.json")
    refused(report(capsys, "sweep", sweep))
    assert not canary.exists(), "a payload ran"
