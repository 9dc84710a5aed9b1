"""``make wheel-test``: build the wheel, and use it from another directory, away from the checkout.

The dependencies are those of the environment that runs this; coseg itself comes from the wheel, which lies before
them on the path.
"""

from __future__ import annotations

import configparser
import os
import subprocess
import sys
import tempfile
import tomllib
import zipfile
from pathlib import Path
from typing import NoReturn

ROOT = Path(__file__).resolve().parents[1]
TINY = (
    "dataset.reader.size=48 dataset.reader.train=24 dataset.reader.val=20 dataset.reader.seen=16 "
    "dataset.reader.unseen=8 model.encoder.width=0.125 augmentation.size=48 data.batch_size=4 data.workers=0 "
    "data.val_pairs=3 trainer.accelerator=cpu trainer.precision=32-true trainer.fast_dev_run=true threads=1"
)


def main() -> None:
    """Build, unpack, run."""
    with tempfile.TemporaryDirectory(prefix="coseg-wheel-") as temporary:
        folder = Path(temporary)
        wheel = build(folder)
        site = folder / "site"
        with zipfile.ZipFile(wheel) as archive:
            check_contents(archive)
            archive.extractall(site)
        away = folder / "away"
        away.mkdir()
        check_commands(site, away)
    print(f"{wheel.name}: every module and configuration is in it, and its commands run from another directory")


def build(folder: Path) -> Path:
    """The wheel of the checkout, built from a copy so that no `build` folder of before is in it."""
    copy = folder / "source"
    copy.mkdir()
    for name in ("src", "conf", "pyproject.toml", "README.md", "LICENSE"):
        if (ROOT / name).exists():
            subprocess.run(["cp", "-R", str(ROOT / name), str(copy)], check=True)
    isolation = ["--no-isolation"] if has_setuptools() else []
    run([sys.executable, "-m", "build", "--wheel", *isolation, "--outdir", str(folder / "dist"), str(copy)], folder)
    (wheel,) = (folder / "dist").glob("*.whl")
    return wheel


def has_setuptools() -> bool:
    """Whether this environment can build by itself; otherwise `build` fetches setuptools."""
    code = "import setuptools; raise SystemExit(int(setuptools.__version__.split('.')[0]) < 77)"
    return subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 0


def check_contents(archive: zipfile.ZipFile) -> None:
    """Every module and every configuration of the checkout, and the commands."""
    names = set(archive.namelist())
    wanted = {f"coseg/{path.relative_to(ROOT / 'src' / 'coseg')}" for path in (ROOT / "src" / "coseg").rglob("*.py")}
    wanted |= {f"coseg/conf/{path.relative_to(ROOT / 'conf')}" for path in (ROOT / "conf").rglob("*.yaml")}
    for kind in ("*.yaml", "bundled/*"):
        found = (ROOT / "src" / "coseg").rglob(kind)
        wanted |= {f"coseg/{path.relative_to(ROOT / 'src' / 'coseg')}" for path in found}
    missing = sorted((wanted | {"coseg/py.typed"}) - names)
    if missing:
        fail(f"the wheel lacks {', '.join(missing)}: see packages and package-data in pyproject.toml")
    (entries,) = (name for name in names if name.endswith(".dist-info/entry_points.txt"))
    scripts = configparser.ConfigParser()
    scripts.read_string(archive.read(entries).decode())
    found = dict(scripts["console_scripts"])
    if found != tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]:
        fail(f"the wheel's commands are {found}")


def check_commands(site: Path, away: Path) -> None:
    """The commands of the unpacked wheel, run in the directory `away`."""
    python = [sys.executable, "-P"]  # -P: nothing from the current directory
    where = "import coseg, coseg.conf, coseg.configs as c; print(coseg.__file__, coseg.conf.__file__, c.config_path())"
    module, conf, path = run([*python, "-c", where], away, site).split()
    if not (Path(module).is_relative_to(site) and Path(conf).is_relative_to(site) and path == "pkg://coseg.conf"):
        fail(f"coseg came from {module} and its configuration from {conf} ({path}), not from the wheel")
    for command, word in (("train", "CrossCorrelationNetwork"), ("test", "PairDataModule")):
        if word not in run([*python, "-m", f"coseg.cli.{command}", "--cfg", "job"], away, site):
            fail(f"coseg-{command} --cfg job does not show {word}")
    if "msrc" not in run([*python, "-m", "coseg.cli.data", "list"], away, site):
        fail("coseg-data list does not show msrc")
    run([*python, "-m", "coseg.cli.train", *TINY.split()], away, site)
    if not list(away.glob("runs/*/*/config.yaml")):
        fail("coseg-train left no run directory")
    draw = (
        "from PIL import Image; from coseg.data.readers.shapes import ShapesReader\n"
        "c = ShapesReader(size=64, seen=4).read('seen')\n"
        "for k in (0, 1): Image.fromarray(c.image(k)).save(f'{k}.png')"
    )
    run([*python, "-c", draw], away, site)
    told = run([*python, "-m", "coseg.cli.predict", "0.png", "1.png"], away, site)
    pictures = {path.name for path in (away / "coseg-output").iterdir()}
    kinds = {f"{k}_{end}" for k in (0, 1) for end in ("mask.png", "overlay.jpg", "cutout.png")}
    if "the bundled model" not in told or pictures != kinds | {"sheet.png"}:
        fail(f"coseg-predict wrote {sorted(pictures)} and told: {told}")


def run(command: list[str], folder: Path, site: Path | None = None) -> str:
    """What the command prints; the end of this script where it fails."""
    environment = dict(os.environ)
    if site is not None:
        environment["PYTHONPATH"] = str(site)  # before site-packages, and before the finder of an editable install
    ran = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    if ran.returncode:
        fail(f"{' '.join(command)} ended with {ran.returncode}:\n{ran.stdout[-2000:]}{ran.stderr[-4000:]}")
    return ran.stdout


def fail(why: str) -> NoReturn:
    """End with exit code 1."""
    raise SystemExit(f"wheel test: {why}")


if __name__ == "__main__":
    main()
