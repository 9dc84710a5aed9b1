"""What the documentation shows is true: programs run, command lines fit, the errors that it quotes are told."""

from __future__ import annotations

import ast
import importlib
import re
import sys
import tempfile
import tomllib
from collections.abc import Iterator, Mapping
from fnmatch import fnmatch
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from extensions import write_extensions
from fenced import Block, blocks, command_lines

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
SCRIPTS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["scripts"]
HYDRA = {"coseg-train": "train", "coseg-test": "test"}
NOT_RUN = {"docs/api/inference.md": 1}
"""Programs that no test can run: they need a GPU, a network or data of others."""

sys.path.insert(0, str(ROOT / "docs" / "_ext"))


def name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def found(page: Path, *languages: str) -> list[Block]:
    return [block for block in blocks(page) if block.language in languages]


@pytest.fixture(scope="module")
def place(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what programs read: pictures, and a data set in the layout of a user's own."""
    from layouts.shapes import write_tree
    from PIL import Image

    from coseg.data.readers.shapes import ShapesReader

    folder = tmp_path_factory.mktemp("docs")
    reader = ShapesReader(size=48, train=2, val=2, seen=36, unseen=2)
    write_tree(reader, folder / "mine", "folder")
    (folder / "pictures").mkdir()
    for number in range(1, 5):
        picture = Image.fromarray(reader.read("seen").image(number))
        picture.save(folder / "pictures" / f"{number}.png")
        picture.save(folder / f"cat{number}.jpg")
    return folder


@pytest.mark.parametrize("page", [page for page in PAGES if found(page, "python")], ids=name)
def test_programs_run(page: Path, place: Path, trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All of a page in one namespace, with names for what a user has: a run, its checkpoint, images."""
    import torch

    monkeypatch.chdir(place)
    checkpoint = trained / "checkpoints" / "best.ckpt"
    images = torch.randint(0, 256, (2, 3, 48, 64), dtype=torch.uint8)
    names: dict[str, Any] = {"run": trained, "checkpoint": checkpoint, "path": checkpoint}
    names |= {"images": images, "images_a": images, "images_b": images}
    for block in found(page, "python"):
        if block.run:
            exec(compile("\n" * (block.line - 1) + block.text, str(page), "exec"), names)


def test_hardly_a_program_is_not_run() -> None:
    counts = {name(page): sum(not block.run for block in found(page, "python")) for page in PAGES}
    assert {page: count for page, count in counts.items() if count} == NOT_RUN


def lines_of(page: Path) -> Iterator[list[str]]:
    for block in found(page, "sh", "bash"):
        yield from command_lines(block.text)


@pytest.mark.parametrize("page", [page for page in PAGES if found(page, "sh", "bash")], ids=name)
def test_command_lines_fit(page: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Each command exists and takes these options; overrides compose."""
    monkeypatch.chdir(extensions().parent)
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    for words in lines_of(page):
        line = " ".join(words)
        if words[0] == "torchrun":  # its own options, then what each process runs
            module = words.index("-m") + 1
            assert words[module].startswith("coseg.cli."), line
            words = [words[module].replace("coseg.cli.", "coseg-"), *words[module + 1 :]]
        if words[:3] == ["python", "-m", "coseg.cli.demo"]:
            words = ["coseg-train", *words[3:]]
        if words[0] == "make":
            assert words[1] in targets, line
        elif words[0] in HYDRA:
            check_overrides(HYDRA[words[0]], words[1:], line)
        elif words[0] == "coseg-sweep":
            check_study(words[1:])
        elif words[0].startswith("coseg-"):
            assert words[0] in SCRIPTS, line
            check_options(SCRIPTS[words[0]].partition(":")[0], words[1:], line)
            told = [word for word in words if re.match(r"[a-z_.]+=", word)] if words[0] == "coseg-export" else []
            composed("test", *told)
        elif words[:2] == ["python", "-m"]:
            package = (ROOT / words[2].replace(".", "/")).is_dir()
            check_options(f"{words[2]}.__main__" if package else words[2], words[3:], line)
        elif words[0] == "python":
            assert (ROOT / words[1]).is_file(), line
    assert capsys.readouterr().err == ""


def check_options(module: str, words: list[str], line: str) -> None:
    """What the command's own parser says to them."""
    imported = importlib.import_module(module)
    if hasattr(imported, "__path__"):  # python -m of a package
        imported = importlib.import_module(f"{module}.__main__")
    parser = imported._parser()
    parse = parser.parse_intermixed_args if module.endswith(".predict") else parser.parse_args
    try:
        parse(words)
    except SystemExit as leaving:  # its message stands on standard error
        assert leaving.code == 0, line


def check_overrides(command: str, words: list[str], line: str) -> None:
    config_dir = None
    if "--config-dir" in words:
        place = words.index("--config-dir")
        config_dir = extensions() if words[place + 1] == "mine" else None  # else an experiment that a report makes
        words = [word for word in words[:place] + words[place + 2 :] if word != "experiment=best"]
    words = [re.sub(r"…|\$\w+|\*$", "x", word) for word in words if word not in ("-m", "--cfg", "job")]
    words = [word for word in words if not word.startswith(("hydra/launcher", "hydra.launcher", "hydra.sweep"))]
    words = ["model=siamese" if word == "model=M" else word for word in words]
    composed(command, *(values(word)[0] if is_sweep(word) else word for word in words), config_dir=config_dir)


@cache
def extensions() -> Path:
    """The directory ``mine`` of docs/extend.md."""
    folder = Path(tempfile.mkdtemp()) / "mine"
    write_extensions(folder)
    return folder


def check_study(words: list[str]) -> None:
    from coseg.cli.sweep import _is_of_study
    from coseg.configs import parse_overrides
    from coseg.sweeps.space import space_of

    words = [word for word in words if word != "--cfg"]
    composed("sweep", *(word for word in words if _is_of_study(word)))
    others = [word for word in words if not _is_of_study(word)]
    if others:
        space = space_of(parse_overrides(others))
        assert space.distributions()
        composed("train", *space.fixed)


@cache
def composed(command: str, *overrides: str, config_dir: Path | None = None) -> None:
    """Raises where they do not compose."""
    from hydra.core.global_hydra import GlobalHydra

    from coseg.configs import compose_config

    GlobalHydra.instance().clear()
    config = compose_config(command, list(overrides), config_dir)
    strategy = config.trainer.get("strategy") if "trainer" in config else None
    if isinstance(strategy, Mapping) and strategy["_target_"].endswith("ShardedStrategy"):
        classes = [(each or {}).get("_target_", "") for each in config.callbacks.values()]
        assert not any(name.endswith("MovingAverage") for name in classes), "it refuses callbacks=ema"


def parsed(word: str) -> Any:
    from hydra.core.override_parser.overrides_parser import OverridesParser

    return OverridesParser.create().parse_override(word)


def is_sweep(word: str) -> bool:
    return bool(parsed(word).is_sweep_override())


def values(word: str) -> list[str]:
    """The overrides that a sweep over `word` tries; each choice of a group is there."""
    from hydra.core.override_parser.types import Glob

    from coseg.configs import choices

    override = parsed(word)
    group, key = override.key_or_group, override.get_key_element()
    known = choices(group)
    if isinstance(override.value(), Glob):
        wanted, others = override.value().include, override.value().exclude
        assert set(others) <= set(known), word
        tried = [each for each in known if each not in others and any(fnmatch(each, pattern) for pattern in wanted)]
    else:
        tried = list(override.sweep_string_iterator())
        assert not known or set(tried) <= set(known), word
    assert tried, word
    return [f"{key}={value}" for value in tried]


def test_links_of_the_readme_lead_to_files() -> None:
    links = re.findall(r"\]\(([^)#]+)", (ROOT / "README.md").read_text(encoding="utf-8"))
    assert [link for link in links if "://" not in link and not (ROOT / link).exists()] == []


def test_errors_of_the_questions_are_those_of_the_program() -> None:
    """A heading that quotes an error has its words, with … for values."""
    quoted = re.findall(r"^### `(.+)`$", (ROOT / "docs" / "faq.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert len(quoted) >= 15
    known = "\n".join(texts(ROOT / "src"))
    known += "\nCould not override '…'. To append to your config use +…"  # Hydra's
    for words in quoted:
        parts = [re.escape(part) for part in words.split("…") if part.strip()]
        assert re.search("…[^\n]*?".join(parts), known), f"no error says: {words}"


def texts(folder: Path) -> Iterator[str]:
    """Every text in the programs of a folder, a line each, with … for what is filled in."""
    for path in sorted(folder.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                yield "".join(str(part.value) if isinstance(part, ast.Constant) else "…" for part in node.values)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.value


def test_the_configuration_page_has_every_file() -> None:
    import configuration_page

    page = configuration_page.configuration(configuration_page.CONF)
    for path in configuration_page.CONF.rglob("*.yaml"):
        for line in path.read_text(encoding="utf-8").splitlines():
            assert line.lstrip("# ") in page, f"{path}: {line}"
    for group in configuration_page.GROUPS:
        assert f"\n## {group}\n" in page
    assert re.search(r"\n### `ablation=use_gate`\n\n[A-Z].+\.\n\n```yaml\n", page)
    place = (ROOT / "docs" / "configs.md").read_text(encoding="utf-8")
    source = [place]
    configuration_page.fill(None, "configs", source)
    assert page in source[0] and configuration_page.PLACE not in source[0]


def test_a_page_that_asks_another_machine_is_found() -> None:
    import self_contained

    page = """<link rel="stylesheet" href="_static/own.css"><a href="https://example.org">read more</a>
    <img src="shapes.png"><script src="//cdn.example.org/a.js"></script><link href="https://fonts.example.org/b.css">
    <style>@import "http://example.org/c.css"; .a { background: url('https://example.org/d.png') } </style>"""
    assert self_contained.outside(page) == [
        "//cdn.example.org/a.js",
        "https://fonts.example.org/b.css",
        "http://example.org/c.css",
        "https://example.org/d.png",
    ]


def test_a_model_card_becomes_part_of_its_page() -> None:
    import optional_pages

    card = "---\ntags:\n- coseg\n---\n\n# Name\n\n```sh\n# a comment\n```\n\n## Scores\n---\n"
    assert optional_pages.body(card) == "\n## Name\n\n```sh\n# a comment\n```\n\n### Scores\n---\n"


def test_the_search_of_a_folder_has_the_texts_of_pages() -> None:
    import search_excerpts

    page = """<nav>no</nav><article role="main" id="x"><h1>Loss &amp; score<a class="headerlink" href="#x">#</a></h1>
    <script>no()</script><p>of <b>a &lt; b</b></p></article>no"""
    assert search_excerpts.text_of(page) == "Loss &amp; score of a &lt; b"
    assert search_excerpts.text_of("<html>") == ""
    assert '{"a.html": "b"}' in search_excerpts.script({"a.html": "b"})
