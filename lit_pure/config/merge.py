"""Merges layers of settings into one checked dataclass.

Knows OmegaConf, and that the last layer wins. Knows nothing of where layers come from (`compose.py`).
"""

import pickle
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from typing import Any, TypeVar

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from lit_pure.config.layers import Layer, source_of, without_sets
from lit_pure.config.mistakes import (
    ConfigError,
    first_line,
    type_message,
    unfit_message,
    unknown_keys,
    unknown_message,
)
from lit_pure.config.ranges import violations
from lit_pure.config.typed import Unfit, fitted

Settings = TypeVar("Settings")


def fit(root: type, layers: Sequence[Layer]) -> list[Layer]:
    """The layers with the values that the knobs of the dataclass `root` take. Raises ConfigError."""
    found = []
    for layer in layers:  # names first: checking them is cheap, and most mistakes are in names
        try:
            layer = replace(layer, values=fitted(root, layer.values))
        except Unfit as error:
            raise ConfigError(unfit_message(root, layer, error)) from None
        for key in unknown_keys(root, layer.values, ""):
            raise ConfigError(unknown_message(root, layer, key))
        found.append(layer)
    return found


def merge(root: type[Settings], layers: Sequence[Layer]) -> Settings:
    """The settings of layers that `fit` returned; the last one wins. Raises ConfigError."""
    merged = _schema(root)
    for layer in layers:
        left_out = without_sets(layer)
        try:
            # "Unsafe" since it overwrites its target, which is ours; the other merge copies everything each time.
            merged = OmegaConf.unsafe_merge(merged, layer.values)
        except OmegaConfBaseException as error:
            raise ConfigError(type_message(root, layer, error)) from None
        for name in left_out:
            merged.data.test.pop(name, None)
    try:
        settings = OmegaConf.to_object(merged)
    except OmegaConfBaseException as error:
        key = error.full_key or "?"
        raise ConfigError(f"{source_of(layers, key)}: {key}: {first_line(error)}") from None
    assert isinstance(settings, root)
    return settings


def _schema(root: type) -> Any:
    """OmegaConf's form of a dataclass: the first takes it 70 ms to make, others are copies."""
    return pickle.loads(_pickled(root))


@cache
def _pickled(root: type) -> bytes:
    # A deep copy of a schema takes six times as long as reading it.
    return pickle.dumps(OmegaConf.structured(root))


def checked(settings: Settings, layers: Sequence[Layer]) -> Settings:
    """The settings themselves. Raises ConfigError with all values out of range and their sources."""
    problems = sorted(set(violations(settings)))
    if problems:
        raise ConfigError("\n".join(f"{source_of(layers, key)}: {key} {problem}" for key, problem in problems))
    return settings
