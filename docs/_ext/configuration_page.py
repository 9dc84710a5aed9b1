"""Writes the configuration page from the YAML files of ``conf/``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

PAGE, PLACE = "configs", "<!-- here stand the groups, made from conf/*.yaml when the site is built -->"
CONF = Path(__file__).resolve().parents[2] / "conf"

GROUPS = {
    "experiment": "A complete setup: choices of the groups below, and values.",
    "dataset": "The data set: see [data](data.md).",
    "data": "Sampling and loading of pairs.",
    "data/sampler": "The contents of a training batch.",
    "augmentation": "Augmentation of training images.",
    "model": "The network: see [the networks](methods.md).",
    "encoder": "The encoder of the network, selected with `encoder@model.encoder=…`: see [encoders](encoders.md).",
    "loss": "The terms of the training loss, `loss=[standard,mine]`: see [extending coseg](extend.md#a-loss).",
    "metrics": "Your own metrics, one or a list: see [extending coseg](extend.md#a-metric).",
    "encoder_weights": "Pretrained weights of an encoder, used by `voc_pairs`: `encoder_weights@model.encoder=…`.",
    "encoder_weights/frozen": "The same with a frozen encoder: `encoder_weights@model.encoder=frozen/…`.",
    "optimizer": "",
    "schedule": "The schedule of the learning rate.",
    "trainer": "Arguments of Lightning's `Trainer`.",
    "logger": "Where scores are logged, in addition to `metrics.csv`.",
    "callbacks": "One, or a list: `callbacks=[ema,resizing]`.",
    "protocol": "How scores are computed: see [protocols](protocols.md).",
    "study": "Settings of a search with `coseg-sweep`: see [sweeps](sweeps.md).",
    "ablation": "Changes one setting of the method, in any experiment: see [ablations](ablations.md).",
    "recipe/from_scratch": "From scratch; experiments have `override /recipe: from_scratch/${model}`.",
    "recipe/from_scratch/conditional_siamese": "What differs between experiments. Selected automatically.",
    "recipe/voc_pairs": "",
}
"""The groups in the order of the page, with an introduction where their files have none."""


def head_and_rest(text: str) -> tuple[str, str]:
    """The comment at the start of a file, as one paragraph without Hydra's ``@package`` line, and the rest."""
    lines = text.strip().splitlines()
    head = []
    while lines and lines[0].startswith("#"):
        line = lines.pop(0).lstrip("# ").rstrip()
        if not line.startswith("@package"):
            head.append(line)
    return " ".join(head), "\n".join(lines).strip()


def package_line(text: str) -> str:
    """Hydra's ``# @package`` line, or nothing."""
    return "".join(line + "\n" for line in text.splitlines() if line.startswith("# @package"))


def file_section(path: Path, title: str, level: int) -> list[str]:
    """A heading, the file's first comment, and the rest of the file as it is."""
    text = path.read_text(encoding="utf-8")
    head, rest = head_and_rest(text)
    block = ["```yaml", (package_line(text) + rest).strip(), "```", ""] if rest else []
    return [f"{'#' * level} {title}", "", *([head, ""] if head else []), *block]


def groups_of(conf: Path) -> list[str]:
    """The groups that have files, in the order of `GROUPS`."""
    found = {str(path.parent.relative_to(conf)) for path in conf.glob("*/**/*.yaml")}
    return [name for name in GROUPS if name in found] + sorted(found - GROUPS.keys())


def configuration(conf: Path) -> str:
    """Every configuration of `conf` as Markdown: the commands, `create_network`, each group and its choices."""
    lines = []
    for command in ("train", "test", "sweep"):
        lines += file_section(conf / f"{command}.yaml", f"coseg-{command}", 2)
    lines += file_section(conf / "network.yaml", "coseg.create_network", 2)
    for group in groups_of(conf):
        lines += [f"## {group}", "", GROUPS.get(group, ""), ""]
        word = "encoder@model.encoder" if group == "encoder" else group
        for path in sorted((conf / group).glob("*.yaml")):
            lines += file_section(path, f"`{word}={path.stem}`", 3)
    return "\n".join(lines) + "\n"


def fill(app: Any, name: str, source: list[str]) -> None:
    """Insert the configuration into its page when Sphinx reads it."""
    if name == PAGE:
        before, place, after = source[0].partition(PLACE)
        if not place:
            raise ValueError(f"{PAGE}.md lacks the line {PLACE}")
        source[0] = before + configuration(CONF) + after


def setup(app: Any) -> dict[str, bool]:
    """Sphinx's entry point."""
    app.connect("source-read", fill)
    app.connect("env-get-outdated", lambda app, env, added, changed, removed: [PAGE])
    return {"parallel_read_safe": True, "parallel_write_safe": True}
