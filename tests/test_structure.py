"""The structure of the package: imports run one way, down the list of rooms; each module has its test."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "src" / "coseg"
ROOMS = (
    "errors", "files", "signals", "labels", "run_dir", "progress", "hydra_internals", "configs", "settings",
    "lightning_internals", "imaging", "models", "instantiate", "data", "metrics", "reports", "hub", "training",
    "evaluation", "inference", "sweeps", "export", "serve", "page", "cli",
)  # fmt: skip
"""From the ground up: a room imports only from those before it."""

MODULES = [path for path in sorted(SOURCE.rglob("*.py")) if path.name != "__init__.py"]


def name_of(path: Path) -> str:
    return ".".join(("coseg", *path.relative_to(SOURCE).with_suffix("").parts))


def imported(path: Path) -> Iterator[str]:
    """Modules of coseg that a file imports when it runs, also within functions; those for types alone aside."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    types = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    known = {name_of(module) for module in MODULES}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and id(node) not in types and (node.module or "").startswith("coseg."):
            whole = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from (module for module in (node.module, *whole) if module in known)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in known)


GRAPH = {name_of(path): set(imported(path)) for path in MODULES}


def test_rooms_are_those_of_the_list() -> None:
    rooms = {path.relative_to(SOURCE).parts[0].removesuffix(".py") for path in MODULES}
    assert rooms == set(ROOMS)


def test_imports_run_down_the_list_of_rooms() -> None:
    rank = {room: number for number, room in enumerate(ROOMS)}
    up = [
        f"{module} -> {other}"
        for module, others in GRAPH.items()
        for other in sorted(others)
        if rank[other.split(".")[1]] > rank[module.split(".")[1]]
    ]
    assert not up, up


def test_no_modules_import_each_other_in_a_circle() -> None:
    left = {module: set(others) - {module} for module, others in GRAPH.items()}
    while ready := [module for module, others in left.items() if not others & left.keys()]:
        for module in ready:
            del left[module]
    assert not left, sorted(left)


def test_modules_are_few_and_of_a_size() -> None:
    lines = sorted(len(path.read_text(encoding="utf-8").splitlines()) for path in MODULES)
    assert len(MODULES) <= 214
    assert 120 <= lines[len(lines) // 2] <= 200 and lines[-1] <= 340


def test_each_module_has_a_test_of_its_name() -> None:
    tests = {path.relative_to(ROOT / "tests") for path in (ROOT / "tests").rglob("test_*.py")}
    lacking = []
    for path in MODULES:
        place = path.relative_to(SOURCE)
        names = (f"test_{place.stem}", f"test_{place.parent.name}_{place.stem}")
        if not any(test.parent == place.parent and test.stem.startswith(names) for test in tests):
            lacking.append(str(place))
    assert not lacking, lacking
