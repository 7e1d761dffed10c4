"""Messages for mistakes in a layer of settings: what is wrong, who set it, and the remedy, in one line.

Knows the schema's dataclasses and OmegaConf's errors. Knows nothing of where layers come from or of their order
(`compose.py`), nor of ranges (`ranges.py`).
"""

import difflib
import typing
from collections.abc import Iterator, Mapping
from dataclasses import is_dataclass
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from lit_pure.config.layers import Layer, find, flat, nested
from lit_pure.config.typed import Unfit, hints_of
from lit_pure.files.reading import shown

LONGEST = 160
"""Of OmegaConf's words [characters]."""
_NEAR = 3
"""Most keys that may be meant."""


class ConfigError(ValueError):
    """A mistake in an experiment file or on the command line; the message has one or two lines, with the remedy."""


def unknown_keys(schema: Any, values: Mapping[str, Any], prefix: str) -> Iterator[str]:
    """Dotted keys, each with `prefix`, that the dataclass `schema` does not have."""
    hints = hints_of(schema)
    for key, value in values.items():
        dotted = f"{prefix}{key}"
        if key not in hints:
            yield dotted
            continue
        hint = hints[key]
        if is_dataclass(hint) and isinstance(value, dict):
            yield from unknown_keys(hint, value, f"{dotted}.")
        elif typing.get_origin(hint) is dict and isinstance(value, dict):
            for name, entry in value.items():
                if isinstance(entry, dict):
                    yield from unknown_keys(typing.get_args(hint)[1], entry, f"{dotted}.{name}.")


def _legal_keys(schema: Any, prefix: str) -> Iterator[str]:
    for name, hint in hints_of(schema).items():
        yield f"{prefix}{name}"
        if is_dataclass(hint):
            yield from _legal_keys(hint, f"{prefix}{name}.")


def unknown_message(root: type, layer: Layer, key: str) -> str:
    """For a key that the dataclass `root` does not have: who set it, its value, and the key that may be meant."""
    legal = list(_legal_keys(root, ""))
    parent, _, last = key.rpartition(".")
    elsewhere = [name for name in legal if name.rpartition(".")[2] == last][:_NEAR]
    near = elsewhere or difflib.get_close_matches(key, legal, n=1, cutoff=0.6)
    siblings = [name for name in legal if name.rpartition(".")[0] == parent] or legal
    hint = f"did you mean {' or '.join(near)}?" if near else f"legal here: {', '.join(siblings)}"
    where = f" in family {root().family}" if hasattr(root, "family") else ""
    return f"{layer.source}: no key {key} (value {shown(find(layer.values, key))}){where}; {hint}"


def type_message(root: type, layer: Layer, error: OmegaConfBaseException) -> str:
    """For a value of the wrong type: who set it, what is wrong, and the default."""
    key = error.full_key or _culprit(root, layer)
    return f"{layer.source}: {key} = {shown(find(layer.values, key))}: {first_line(error)}{_default(root, key)}"


def unfit_message(root: type, layer: Layer, error: Unfit) -> str:
    """The same, for a value that was refused before the merge."""
    return f"{layer.source}: {error.key} = {error.value}: {error}{_default(root, error.key)}"


def _default(root: type, key: str) -> str:
    """The default of a knob in words; "" where it has none."""
    value = root()
    for part in key.split("."):
        value = getattr(value, part.partition("[")[0], None)
    wordless = value is None or is_dataclass(value) or isinstance(value, dict)
    return "" if wordless else f"; the default is {list(value) if isinstance(value, tuple) else value}"


def _culprit(root: type, layer: Layer) -> str:
    """The first key of a layer that cannot be merged by itself: OmegaConf does not always name it."""
    merged = OmegaConf.structured(root)
    for key, value in flat(layer.values, ""):
        above, _, last = key.rpartition(".")
        try:
            merged = OmegaConf.unsafe_merge(merged, nested({last: value}, above))
        except OmegaConfBaseException:
            return key
    return next(iter(layer.values))


def first_line(error: Exception) -> str:
    """The first line of an error's message, which may show a whole section: not more of it than can be read."""
    line = str(error).splitlines()[0]
    return line if len(line) <= LONGEST else f"{line[:LONGEST]} ..."
