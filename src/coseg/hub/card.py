"""The model card of a shared network: what it is, what it was trained on, what it scores."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from coseg.errors import CosegError
from coseg.files.plain_data import read_yaml
from coseg.hub.measures import LOWEST, SURE
from coseg.hub.settings import CARD_SCORES
from coseg.models.base import CosegNetwork
from coseg.reports.results import read_results, tested_words
from coseg.run_dir import CHECKPOINTS, CONFIG

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
        settings: of the model (see `coseg.hub.settings.settings_of`). ``training``, all of it optional:
            ``data``: name of the data set; ``classes``: their names; ``steps``: of training; ``scores``: a list of
            dictionaries, each with ``what`` and some of `CARD_SCORES`; ``notes``: further text.
        network: whose parameters are counted.
    """
    training: Mapping[str, Any] = settings.get("training") or {}
    blocks = [f"{_HEAD}\n# {network.name}", _about(settings, network)]
    blocks += [_USE.rstrip(), f"## Training\n{_trained(training)}"]
    if training.get("scores"):
        blocks.append(f"## Scores\n{_scored(training['scores'])}")
    blocks.append(f"## Is there a common object?\n{calibration_text(settings.get('cooccurrence'))}")
    if training.get("notes"):
        blocks.append(str(training["notes"]).strip())
    return "\n\n".join(blocks) + "\n"


def training_of_checkpoint(path: Path, class_names: Iterable[str], step: int) -> dict[str, Any]:
    """What is known of a checkpoint's training and tests, from itself and the run directory that it lies in.

    A run that is damaged or gone leaves gaps; that is no reason not to share its network.

    Args:
        path: of the checkpoint.
        class_names: see `coseg.hub.checkpoint.TrainedNetwork`.
        step: likewise.
    """
    training: dict[str, Any] = {"classes": list(class_names), "steps": step}
    run = path.resolve().parents[1] if path.parent.name == CHECKPOINTS else path.resolve().parent
    try:
        config = OmegaConf.create(read_yaml(run / CONFIG))
        training["data"] = str(OmegaConf.select(config, "dataset.name"))
        training["settings"] = {
            name: OmegaConf.select(config, name)
            for name in ("name", "seed", "data.batch_size", "augmentation.size", "task.semantic", "optimizer.lr")
            if OmegaConf.select(config, name) is not None
        }
    except Exception:  # YAML of any kind may lie there
        pass
    training["scores"] = list(_test_scores(run, path))
    return training


def _test_scores(run: Path, checkpoint: Path) -> Iterable[dict[str, Any]]:
    for results in sorted(run.glob("test/*/results.json")):
        try:
            scores = read_results(results)
            if Path(str(scores["checkpoint"])).name != checkpoint.name:
                continue
            size = f", {scores['input_size']} x {scores['input_size']}" if scores.get("input_size") else ""
            what = f"{scores['dataset']} {scores['split']}, protocol {scores['protocol']}, {tested_words(scores)}{size}"
            yield {"what": what, **{name: scores.get(name) for name in CARD_SCORES}}
        except (CosegError, KeyError, TypeError):
            continue


def _about(settings: Mapping[str, Any], network: CosegNetwork) -> str:
    parameters = sum(parameter.numel() for parameter in network.parameters())
    size = settings.get("size")
    if size is None:
        at = "Images go in at their own size."
    elif network.input_size is None:
        at = f"Images go in with a longest side of {size} pixels."
    else:
        at = f"Images are resized to {size} x {size} pixels."
    return (
        "Image co-segmentation: given photographs that show objects of the same class, it predicts which pixels of "
        f"each show them. A network of coseg {settings['coseg']} with {parameters:,} parameters. {at} A pixel is "
        f"foreground if its probability is above {settings['threshold']}."
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
    lines = [f"| tested on | {' | '.join(f'`{name}`' for name in CARD_SCORES)} |", f"|---|{'---|' * len(CARD_SCORES)}"]
    for record in scores:
        values = [record.get(name) for name in CARD_SCORES]
        lines.append(
            f"| {record['what']} | {' | '.join('-' if value is None else f'{value:.3f}' for value in values)} |"
        )
    return "\n".join(lines)


def calibration_text(calibration: Mapping[str, Any] | None) -> str:
    """What the card says of a calibration, see `coseg.hub.calibration.Calibration.to_dict`."""
    if calibration is None:
        return (
            "Not calibrated: the model predicts foreground even in images that share nothing, and does not report it."
        )
    if calibration.get("accuracy") is None:
        return "Calibrated, but not measured: how often it is right is not known."
    about = f" of {calibration['data']}" if calibration.get("data") else ""
    pairs = (
        f"On {calibration['pairs']} pairs{about} that took no part in the calibration, half of them without a common "
        f"object, it is right in {calibration['accuracy']:.1%}{_interval(calibration)} of the cases, cut at 50 %; the "
        f"area under the curve of hits against false alarms is {calibration['auc']:.3f}."
    )
    sizes = calibration.get("sizes") or []
    if sizes and (sizes[0].get("yes") or sizes[0].get("no")):
        pairs += (
            f" It answers only from {SURE:.0%} on, in both directions: of its answers that there is a common object "
            f"{_counted(sizes[0].get('yes'))} were right, of those that there is none {_counted(sizes[0].get('no'))}."
        )
    blocks = [pairs, _calibrated_groups(calibration.get("group") or {}), _held_out(calibration.get("held_out") or [])]
    return "\n\n".join(filter(None, blocks))


def _calibrated_groups(group: Mapping[str, Any]) -> str:
    if not group.get("sizes"):
        return "For groups of three images or more it gives the mean over pairs; how often that is right is not known."
    about = f" of {group['data']}" if group.get("data") else ""
    lines = [
        f"On groups of images{about}: half of them share a class, in the other half no class is in more than a fifth "
        "of the images (rounded up). Intruder: in groups that share a class but for one image, how often that one is "
        "the least likely to belong. Outside: of the images that were answered not to belong, in groups with no "
        "intruder, one, and half of the images, how many do not.\n",
        "| images | groups | right | area | answers: common | answers: nothing | intruder | outside |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for size in group["sizes"]:
        counts = " | ".join(_counted(size.get(name)) for name in ("yes", "no", "intruder", "outside"))
        right = f"{size['accuracy']:.1%}{_interval(size)}"
        lines.append(f"| {size['size']} | {size['groups']} | {right} | {size['auc']:.3f} | {counts} |")
    return "\n".join(lines)


def _held_out(classes: Iterable[Mapping[str, Any]]) -> str:
    """The measures by class, each held out of the calibration."""
    records = list(classes)
    if not records:
        return ""
    lines = [
        "By class, each held out of the calibration in turn (the network itself may have been trained on it); Brier "
        "score: 0 is best, 0.25 is that of always 50 %. A kind that was not calibrated on can look like nothing in "
        f"common, so no answer is below {LOWEST:.0%}; the last column is without that bound.\n",
        "| class | images | pairs: right | pairs: Brier | groups of 5: Brier | lowest probability of a group |",
        "|---|---|---|---|---|---|",
    ]
    for record in records:
        groups = "- | -"
        if record.get("groups"):
            groups = f"{record['group_brier']:.3f} | {record['group_lowest']:.2f}"
        lines.append(
            f"| {record['name']} | {record['images']} | {record['accuracy']:.1%} | {record['brier']:.3f} | {groups} |"
        )
    return "\n".join(lines)


def _interval(measures: Mapping[str, Any]) -> str:
    low, high = measures.get("interval") or (None, None)
    return "" if low is None or high is None else f" ({low:.1%} to {high:.1%})"


def _counted(count: Sequence[int] | None) -> str:
    """``right of all``, from the two numbers."""
    return "-" if not count else f"{count[0]} of {count[1]}"
