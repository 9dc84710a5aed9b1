"""The model card of a shared network: what it is, what it was trained on, what it scores."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from omegaconf import OmegaConf

from coseg.errors import CosegError
from coseg.evaluation.results import read_results, tested_words
from coseg.models.network import CosegNetwork
from coseg.plain_data import read_yaml

if TYPE_CHECKING:
    from coseg.training.task import CosegTask

SCORES = ("jaccard", "jaccard_class_mean", "jaccard_distractor", "pixel_accuracy")
"""The scores that a card shows."""

_HEAD = """---
library_name: coseg
pipeline_tag: image-segmentation
tags:
- coseg
- image-segmentation
- co-segmentation
---
"""

_USE = """## Use
```python
from coseg import CoSegmenter

model = CoSegmenter.from_pretrained("this folder, or owner/name on the Hugging Face hub")
result = model.pair("a.jpg", "b.jpg")  # or model.group([...]), of two images or more
mask = result[0].mask()  # bool, at the size of the photograph
```
"""


def model_card(settings: Mapping[str, Any], network: CosegNetwork) -> str:
    """The card as Markdown, with the hub's head.

    Args:
        settings: of the model (see `coseg.inference.pretrained.settings_of`). ``training``, all of it optional:
            ``data``: name of the data set; ``classes``: their names; ``steps``: of training; ``scores``: a list of
            dictionaries, each with ``what`` and some of `SCORES`; ``notes``: further text.
        network: whose parameters are counted.
    """
    training: Mapping[str, Any] = settings.get("training") or {}
    blocks = [f"{_HEAD}\n# {network.name}", _about(settings, network)]
    blocks += [_USE.rstrip(), f"## Training\n{_trained(training)}"]
    if training.get("scores"):
        blocks.append(f"## Scores\n{_scored(training['scores'])}")
    blocks.append(f"## Is there a common object?\n{_calibrated(settings.get('commonness'))}")
    if training.get("notes"):
        blocks.append(str(training["notes"]).strip())
    return "\n\n".join(blocks) + "\n"


def check_told(training: object, where: str) -> None:
    """Refuse a ``training`` of which no card can be made.

    Raises:
        CosegError: so; `where` names it in the sentence.
    """
    if training is None:
        return
    told: Any = training if isinstance(training, dict) else {"steps": "none"}
    types = {"steps": int, "classes": list, "settings": dict, "scores": list}
    fits = all(isinstance(told.get(key), type_ | None) for key, type_ in types.items())
    rows = (told.get("scores") or []) if fits else [None]
    if not all(
        isinstance(row, dict)
        and "what" in row
        and all(isinstance(row.get(name), int | float | None) for name in SCORES)
        for row in rows
    ):
        raise CosegError(f"{where} is damaged: fetch or export the model again.")


def told_of_checkpoint(path: Path, task: CosegTask) -> dict[str, Any]:
    """What a checkpoint and the run directory that it lies in tell of its training and its tests.

    A run that is damaged or gone tells less; that is no reason not to share its network.
    """
    told: dict[str, Any] = {"classes": list(task.hparams.get("class_names") or ())}
    told["steps"] = int(torch.load(path, map_location="cpu", weights_only=True, mmap=True)["global_step"])
    run = path.resolve().parents[1] if path.parent.name == "checkpoints" else path.resolve().parent
    try:
        config = OmegaConf.create(read_yaml(run / "config.yaml"))
        told["data"] = str(OmegaConf.select(config, "dataset.name"))
        told["settings"] = {
            name: OmegaConf.select(config, name)
            for name in ("name", "seed", "data.batch_size", "augmentation.size", "task.semantic", "optimizer.lr")
            if OmegaConf.select(config, name) is not None
        }
    except Exception:  # YAML of any kind may lie there
        pass
    told["scores"] = list(_found_scores(run, path))
    return told


def _found_scores(run: Path, checkpoint: Path) -> Iterable[dict[str, Any]]:
    for results in sorted(run.glob("test/*/results.json")):
        try:
            found = read_results(results)
            if Path(str(found["checkpoint"])).name != checkpoint.name:
                continue
            size = f", {found['input_size']} x {found['input_size']}" if found.get("input_size") else ""
            what = f"{found['dataset']} {found['split']}, protocol {found['protocol']}, {tested_words(found)}{size}"
            yield {"what": what, **{name: found.get(name) for name in SCORES}}
        except (CosegError, KeyError, TypeError):
            continue


def _about(settings: Mapping[str, Any], network: CosegNetwork) -> str:
    parameters = sum(each.numel() for each in network.parameters())
    size = settings.get("size")
    if size is None:
        at = "Images go in at their own size."
    elif network.input_size is None:
        at = f"Images go in with a longest side of {size} pixels."
    else:
        at = f"Images are resized to {size} x {size} pixels."
    return (
        "Image co-segmentation: given photographs that show the same kind of object, it marks that object's pixels in "
        f"each. A network of coseg {settings['coseg']} with {parameters:,} parameters. {at} A pixel is marked where "
        f"its probability is above {settings['threshold']}."
    )


def _trained(training: Mapping[str, Any]) -> str:
    lines = []
    if training.get("data"):
        lines.append(f"- data set: {training['data']}")
    if training.get("steps"):
        lines.append(f"- steps: {training['steps']:,}")
    if training.get("classes"):
        lines.append(f"- classes: {', '.join(map(str, training['classes']))}")
    lines += [f"- {name}: {value}" for name, value in (training.get("settings") or {}).items()]
    return "\n".join(lines) or "Not recorded."


def _scored(scores: Iterable[Mapping[str, Any]]) -> str:
    lines = [f"| tested on | {' | '.join(f'`{name}`' for name in SCORES)} |", f"|---|{'---|' * len(SCORES)}"]
    for row in scores:
        values = [row.get(name) for name in SCORES]
        lines.append(f"| {row['what']} | {' | '.join('-' if value is None else f'{value:.3f}' for value in values)} |")
    return "\n".join(lines)


def _calibrated(calibration: Mapping[str, Any] | None) -> str:
    if calibration is None:
        return "Not calibrated: the model marks something in images that share nothing, and does not say so."
    if calibration.get("accuracy") is None:
        return "Calibrated, but not measured: how often it is right is not known."
    about = f" of {calibration['data']}" if calibration.get("data") else ""
    low, high = calibration.get("interval") or (None, None)
    interval = "" if low is None or high is None else f" ({low:.1%} to {high:.1%})"
    pairs = (
        f"On {calibration['pairs']} pairs{about} that took no part in the calibration, half of them without a common "
        f"object, it is right in {calibration['accuracy']:.1%}{interval} of the cases; the area under the curve of "
        f"hits against false alarms is {calibration['auc']:.3f}."
    )
    return f"{pairs}\n\n{_calibrated_groups(calibration.get('group') or {})}"


def _calibrated_groups(group: Mapping[str, Any]) -> str:
    if not group.get("sizes"):
        return "Of groups of three images or more it tells the mean over pairs; how often that is right is not known."
    about = f" of {group['data']}" if group.get("data") else ""
    lines = [
        f"On groups of images{about}: half of them share a class, in the other half no class is in more than a fifth "
        "of the images (rounded up).\n",
        "| images | groups | right | area |\n|---|---|---|---|",
    ]
    for each in group["sizes"]:
        low, high = each.get("interval") or (None, None)
        interval = "" if low is None or high is None else f" ({low:.1%} to {high:.1%})"
        lines.append(f"| {each['size']} | {each['groups']} | {each['accuracy']:.1%}{interval} | {each['auc']:.3f} |")
    return "\n".join(lines)
