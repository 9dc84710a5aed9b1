"""Check a composed configuration against the schema, before anything is read, made or imported that takes time."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import ValidationError

from coseg.errors import CosegError
from coseg.hydra_internals import child, entries, is_interpolation, is_null, unresolved_values
from coseg.settings.schema import GROUPS, GROUPS_OF_GROUPS, GROUPS_OF_SETTINGS, REQUIRED

SHOWN = 60
"""Characters of a value that a sentence shows."""

REPORTED = 5
"""Settings that are reported at once."""

_NUMBERS_OF = ("coseg.", "albumentations.", "torch.optim.")
"""Classes that can't use a number which is not finite."""


class UnresolvedError(CosegError):
    """The configuration refers to what is not there."""


def check_settings(config: DictConfig, command: str | None = None) -> DictConfig:
    """`config`, whose settings all have their types and ranges.

    Args:
        config: composed, or that of a run; not changed.
        command: ``train``, ``test`` or ``sweep``, whose settings must all be there; None: those that are there.

    Raises:
        UnresolvedError: the configuration can't be resolved.
        CosegError: they have not; names each setting (the first few), its value and what it must be.
    """
    wrong: dict[str, str] = dict(_missing(config, command))
    try:
        values = OmegaConf.to_container(config, resolve=True)
    except Exception as error:  # a resolver may raise anything
        wrong |= _wrong_texts(config)  # which a resolver, such as one that makes a path absolute, can't take
        if wrong:
            raise CosegError(_joined(wrong)) from None
        reason = " ".join(str(error if isinstance(error, OmegaConfBaseException) else repr(error)).split())
        raise UnresolvedError(f"The configuration can't be resolved: {reason}") from None
    wrong |= _wrong(values)
    if wrong:
        # One value that others refer to is wrong in one place, where it can be mended.
        sources = {key: text for key, text in wrong.items() if not _refers(config, key)}
        raise CosegError(_joined(sources or wrong))
    return config


def _joined(wrong: dict[str, str]) -> str:
    texts = [f"{key} {text}" for key, text in wrong.items()]
    rest = f" And {len(texts) - REPORTED} more settings are wrong." if len(texts) > REPORTED else ""
    return " ".join(texts[:REPORTED]) + rest


def _missing(config: DictConfig, command: str | None) -> Iterator[tuple[str, str]]:
    """What a command needs and has not, or has in another shape."""
    for key in REQUIRED[command] if command is not None else ():
        parent, _, name = key.rpartition(".")
        node = _node(config, parent) if parent else config
        if parent in GROUPS_OF_SETTINGS and not isinstance(node, DictConfig):
            continue  # the group is reported
        if not isinstance(node, DictConfig) or name not in node:
            yield key, f"is missing, but coseg-{command} needs it: leave out the override that removes it."
            continue
        value = _node(config, key)
        if key in GROUPS_OF_SETTINGS and not isinstance(value, DictConfig):
            yield key, f"is {_shown(value)}, but must be a group of settings: leave out what sets it."
        elif name == "_target_" and not isinstance(value, str):
            yield key, f"is {_shown(value)}, but must be the name of a class."
    if command == "train":
        for key in ("data.splits.train", "data.splits.val"):
            split = _node(config, key)
            if isinstance(_node(config, "data.splits"), DictConfig) and not isinstance(split, str | ListConfig):
                yield key, f"is {_shown(split)}, but must be the name of a split."
        augmentation = _node(config, "augmentation")
        if isinstance(augmentation, DictConfig) and "_target_" not in augmentation:
            yield "augmentation._target_", "is missing: leave out the override that removes it."
    for place in GROUPS_OF_GROUPS:
        groups = _node(config, place)
        if groups is not None and not isinstance(groups, DictConfig):
            yield place, f"is {_shown(groups)}, but must be a group of settings: leave out what sets it."
        if isinstance(groups, DictConfig) and isinstance(target := _node(config, f"{place}._target_"), str):
            name = target.rpartition(".")[0].rpartition(".")[2] or "mine"
            yield (
                place,
                (
                    f"has the class {_shown(target)} without a name: put a name above it in its file, indented below: "
                    f"'{name}:', then '  _target_: {target}'."
                ),
            )
            continue
        for entry in map(str, groups if isinstance(groups, DictConfig) else ()):
            value = _node(config, f"{place}.{entry}")
            if value is not None and not isinstance(value, DictConfig):
                yield f"{place}.{entry}", f"is {_shown(value)}, but must be a group of settings, or null."


def _wrong(values: Any) -> dict[str, str]:
    """Of plain values: what is wrong, by its key."""
    wrong: dict[str, str] = {}
    for group in GROUPS:
        for place, node in _places(values, group.place):
            made = node.get(group.maker) if group.maker else node
            target = str(made.get("_target_", "")) if isinstance(made, dict) else ""
            if group.classes and not target.startswith(group.classes):
                continue
            try:
                group.model.model_validate(node)
            except ValidationError as error:
                for detail in error.errors(include_url=False):
                    # Of a list the whole is reported: its entries are short.
                    key = str(detail["loc"][0])
                    value = detail["input"]
                    wrong.setdefault(f"{place}.{key}" if place else key, _sentence(node.get(key, value), detail["msg"]))
    for key, value in _not_finite(values, "", False):
        if not any(key == known or key.startswith(f"{known}.") for known in wrong):
            wrong[key] = _sentence(value, "a finite number")
    return wrong


def _wrong_texts(config: DictConfig) -> dict[str, str]:
    """Of a configuration that can't be resolved: the values that refer to nothing, and are wrong by themselves."""
    return _wrong(_without_interpolations(config))


def _without_interpolations(node: Any) -> Any:
    if isinstance(node, ListConfig):
        return [_without_interpolations(value) for value in unresolved_values(node)]
    if not isinstance(node, DictConfig) or is_null(node):
        return node
    return {
        key: _without_interpolations(child(node, key) if OmegaConf.is_config(value) else value)
        for key, value in ((str(name), value) for name, value in node.items_ex(resolve=False))
        if not OmegaConf.is_interpolation(node, key) and not OmegaConf.is_missing(node, key)
    }


def _sentence(value: Any, words: str) -> str:
    return f"is {_shown(value)}, but must be {words}."


def _places(values: Any, place: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """The mappings that `place` stands for, with their keys."""
    nodes: list[tuple[str, Any]] = [("", values)]
    for name in place.split(".") if place else []:
        inside = []
        for prefix, node in nodes:
            entries = dict(enumerate(node)) if isinstance(node, list) else node if isinstance(node, dict) else {}
            for key, value in entries.items():
                if name in ("*", key):
                    inside.append((f"{prefix}.{key}" if prefix else str(key), value))
        nodes = inside
    return ((prefix, node) for prefix, node in nodes if isinstance(node, dict))


def _not_finite(node: Any, key: str, ours: bool) -> Iterator[tuple[str, float]]:
    """Numbers of coseg's own classes that are not finite, wherever they are."""
    if isinstance(node, float) and not math.isfinite(node) and ours:
        yield key, node
    elif isinstance(node, dict):
        if "_target_" in node:
            ours = str(node["_target_"]).startswith(_NUMBERS_OF)
        for name, value in node.items():
            yield from _not_finite(value, f"{key}.{name}" if key else str(name), ours)
    elif isinstance(node, list):
        for number, value in enumerate(node):
            yield from _not_finite(value, f"{key}.{number}", ours)


def _node(config: Any, key: str) -> Any:
    try:
        return OmegaConf.select(config, key, throw_on_resolution_failure=False)
    except OmegaConfBaseException:
        return None


def _refers(config: DictConfig, key: str) -> bool:
    """Whether the value at `key`, or what it lies in, is another one's."""
    node: Any = config
    for name in key.split("."):
        if isinstance(node, ListConfig):
            place: Any = int(name)
        elif isinstance(node, DictConfig):
            place = name
        else:
            return False
        try:
            inner = child(node, place)
        except (OmegaConfBaseException, IndexError):
            return False
        if inner is None:
            return False
        if is_interpolation(inner) or (isinstance(inner, ListConfig) and any(map(is_interpolation, entries(inner)))):
            return True
        node = inner
    return False


def _shown(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if OmegaConf.is_config(value):
        value = OmegaConf.to_container(value)
    text = repr(value) if not isinstance(value, int) or abs(value) < 10**SHOWN else "a number of too many digits"
    return text if len(text) <= SHOWN else text[:SHOWN] + "…"
