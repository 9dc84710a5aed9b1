"""Makes the page of the configuration from the YAML files of ``conf/``, so that it says what they say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

PAGE, PLACE = "configs", "<!-- here stand the groups, made from conf/*.yaml when the site is built -->"
CONF = Path(__file__).resolve().parents[2] / "conf"

GROUPS = {
    "experiment": "A whole set-up: what the groups below choose together, and values.",
    "dataset": "Which catalog is read: see [data](data.md).",
    "data": "How pairs are drawn and fed.",
    "data/sampler": "What a training batch is made of.",
    "augmentation": "What happens to each training image.",
    "model": "The network: see [the networks](methods.md).",
    "encoder": "The network's encoder, chosen as `encoder@model.encoder=…`: see [encoders](encoders.md).",
    "optimizer": "",
    "schedule": "Of the learning rate.",
    "trainer": "Arguments of Lightning's `Trainer`.",
    "logger": "Where scores are written beside `metrics.csv`.",
    "callbacks": "One, or a list: `callbacks=[ema,resizing]`.",
    "protocol": "Of scoring: see [protocols](protocols.md).",
    "study": "A search, of `coseg-sweep`: see [sweeps](sweeps.md).",
    "ablation": "One decision of the method changed, in any experiment: see [ablations](ablations.md).",
    "experiment_model": "What an experiment sets for one model alone. Chosen by itself, after the experiment.",
}
"""The groups in the order of the page, each with what no file of it says."""


def head_and_rest(text: str) -> tuple[str, str]:
    """The comment that a file begins with, as one paragraph without Hydra's ``@package`` line, and what follows it."""
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
    """The groups that have files, those of `GROUPS` first."""
    found = {str(path.parent.relative_to(conf)) for path in conf.glob("*/**/*.yaml")}
    return [name for name in GROUPS if name in found] + sorted(found - GROUPS.keys())


def configuration(conf: Path) -> str:
    """Every configuration of `conf` as Markdown: the commands, then each group and each of its choices."""
    lines = []
    for command in ("train", "test", "sweep"):
        lines += file_section(conf / f"{command}.yaml", f"coseg-{command}", 2)
    for group in groups_of(conf):
        lines += [f"## {group}", "", GROUPS.get(group, ""), ""]
        word = "encoder@model.encoder" if group == "encoder" else group
        for path in sorted((conf / group).glob("*.yaml")):
            lines += file_section(path, f"`{word}={path.stem}`", 3)
    return "\n".join(lines) + "\n"


def fill(app: Any, name: str, source: list[str]) -> None:
    """Put the configuration into its page, while Sphinx reads that."""
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
