"""A layer of settings: what one source sets, and how to read it.

Knows nested dictionaries, their dotted keys, and that a test set may be left out. Knows no knob, and nothing of where
layers come from or of their order (`compose.py`).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

TEST_SETS = "data.test"
"""The section with an experiment's test sets by name; null leaves out a test set of the base."""


@dataclass(frozen=True)
class Layer:
    """One source of settings: an experiment file, a preset, or one override."""

    source: str
    values: dict[str, Any]


def find(values: Any, dotted: str) -> Any:
    """The value at a dotted key, or None if there is none."""
    for part in dotted.replace("[", ".").replace("]", "").split("."):
        if isinstance(values, dict) and part in values:
            values = values[part]
        elif isinstance(values, list) and part.isdigit() and int(part) < len(values):
            values = values[int(part)]
        else:
            return None
    return values


def source_of(layers: Sequence[Layer], key: str) -> str:
    """The last source that sets `key`."""
    for layer in reversed(layers):
        if find(layer.values, key) is not None:
            return layer.source
    return "default"


def nested(values: dict[str, Any], below: str) -> dict[str, Any]:
    """The values nested below a dotted key; unchanged if it is ""."""
    for part in reversed(below.split(".") if below else []):
        values = {part: values}
    return values


def without_sets(layer: Layer) -> list[str]:
    """Remove the entries of a layer that leave out test sets, `data: {test: {NAME: null}}`; returns their names."""
    sets = find(layer.values, TEST_SETS)
    names = [name for name, photos in sets.items() if photos is None] if isinstance(sets, dict) else []
    for name in names:
        del sets[name]
    return names


def flat(value: Any, prefix: str) -> Iterator[tuple[str, Any]]:
    """Dotted keys and values of a nested dictionary."""
    if isinstance(value, dict) and value:
        for key, entry in value.items():
            yield from flat(entry, f"{prefix}.{key}" if prefix else str(key))
    else:
        yield prefix, value
