"""Files that are laid over others (`mixin:`): which ones a layer names, and what they may set.

Knows that their names stand in one value, with commas. Knows nothing of the order of layers (`compose.py`).
"""

from collections.abc import Sequence
from pathlib import Path

from lit_pure.config import library
from lit_pure.config.layers import Layer
from lit_pure.config.library import ExperimentFile, load_keys
from lit_pure.config.mistakes import ConfigError
from lit_pure.config.typed import text_of
from lit_pure.files.yaml12 import resolved

KEY = "mixin"
NOT_MIXED = ("base", KEY, *library.VARY)
"""Keys that a file which is laid over others does not set."""


def mixed_in(layer: Layer, roots: Sequence[Path]) -> list[ExperimentFile]:
    """The files that a layer mixes in, below these folders. Raises ConfigError where one does not exist."""
    names = text_of(layer.values.get(KEY, ""))
    if not isinstance(names, str):
        raise ConfigError(f"{layer.source}: {KEY} = {resolved(names)!r}: name a file, for example debug/fast")
    return [library.require_file(name.strip(), roots) for name in names.split(",") if name.strip()]


def mixed_in_last(launched: Sequence[Layer], roots: Sequence[Path]) -> list[ExperimentFile]:
    """The files that the command line mixes in; the last `mixin=` counts."""
    return next((mixed_in(layer, roots) for layer in reversed(launched) if KEY in layer.values), [])


def mixin_values(file: ExperimentFile) -> dict[str, object]:
    """What a file sets that is laid over others. Raises ConfigError for keys that are not for it."""
    values = load_keys(file.path)
    if wrong := [key for key in NOT_MIXED if key in values]:
        raise ConfigError(f"{file.path}: {wrong[0]}: is not for a file that is mixed in; take it out")
    return values
