"""What coseg uses of Hydra and OmegaConf beyond their documentation: look here when a new version of them comes.

The grammar of overrides, Hydra's configuration while a callback runs, and the nodes of a configuration that is not
resolved.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import FloatRange, IntervalSweep, Override, Quote, QuotedString, RangeSweep
from hydra.errors import HydraException, OverrideParseException
from omegaconf import DictConfig, ListConfig

__all__ = ["FloatRange", "IntervalSweep", "Override", "QuotedString", "RangeSweep"]


def parsed_override(word: str) -> Override:
    """One override, without a look at the configuration.

    Raises:
        HydraException: the word is no override.
        ValueError: it has a number of too many digits.
    """
    return OverridesParser.create().parse_override(word)


def parsed_overrides(words: list[str]) -> list[Override]:
    """Overrides, whose groups are looked up in the configuration on which Hydra is started.

    Raises:
        HydraException: a word is no override.
    """
    parser = OverridesParser.create(GlobalHydra.instance().config_loader())
    try:
        return parser.parse_overrides(words)
    except OverrideParseException as error:
        raise HydraException(f"{error.override}: {error}") from None


def in_quotes(text: str) -> str:
    """`text` within single quotes, as the grammar of overrides reads it; ``${`` is an interpolation unless escaped."""
    return QuotedString(text, Quote.single).with_quotes()


@contextmanager
def hydra_config(config: DictConfig) -> Iterator[None]:
    """Let ``${hydra:…}`` refer to `config` inside the block, in a callback that runs before Hydra does this itself."""
    before = HydraConfig.instance().cfg
    HydraConfig.instance().set_config(config)
    try:
        yield
    finally:
        HydraConfig.instance().cfg = before


def is_null(node: Any) -> bool:
    """Whether a node of a configuration stands for null."""
    return bool(node._is_none())


def is_interpolation(node: Any) -> bool:
    """Whether a node is an interpolation, ``${…}``."""
    return bool(node._is_interpolation())


def child(node: DictConfig | ListConfig, key: Any) -> Any:
    """The node at `key`, not resolved; None where a dictionary has none.

    Raises:
        IndexError: a list has none.
        OmegaConfBaseException: the key is of another type than those of `node`.
    """
    return node._get_node(key)


def entries(node: ListConfig) -> list[Any]:
    """The nodes of a list, not resolved; none, where it stands for null."""
    return [] if is_null(node) else [node._get_node(place) for place in range(len(node))]


def unresolved_values(node: ListConfig) -> list[Any]:
    """The values of a list as they are, not resolved."""
    return list(node._iter_ex(resolve=False))
