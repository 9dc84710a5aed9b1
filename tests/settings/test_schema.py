"""The schema names settings that there are: each key of a group is one of the shipped configuration's, or a class's."""

from __future__ import annotations

import pytest

from coseg.settings import schema


def test_the_places_of_groups_are_all_different() -> None:
    places = [group.place for group in schema.GROUPS]
    assert len(places) == len(set(places)) and places[0] == ""


@pytest.mark.parametrize("place", ["task", "data", "protocol"])
def test_every_setting_of_a_shipped_group_is_known(place: str) -> None:
    from coseg.configs import compose_config

    (group,) = [group for group in schema.GROUPS if group.place == place]
    shipped = {str(key) for key in compose_config("train", [])[place]} - {"_target_", "reader", "splits", "sampler"}
    assert shipped - set(group.model.model_fields) <= {"augmentation", "name", "unit", "model", "on_damaged"}


def test_what_a_command_needs_is_composed() -> None:
    from omegaconf import OmegaConf

    from coseg.configs import compose_config

    for command in ("train", "test"):
        config = compose_config(command, [])
        for key in schema.REQUIRED[command]:
            parent, _, last = key.rpartition(".")
            node = OmegaConf.select(config, parent) if parent else config
            assert node is not None and last in node, (command, key)


@pytest.mark.parametrize(("place", "key", "bad"), [("data", "batch_size", 0), ("task", "jaccard", -1.0)])
def test_ranges_are_in_the_schema(place: str, key: str, bad: float) -> None:
    from pydantic import ValidationError

    (group,) = [group for group in schema.GROUPS if group.place == place]
    with pytest.raises(ValidationError):
        group.model.model_validate({key: bad})
