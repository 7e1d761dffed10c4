"""Finds values of a dataclass tree that are outside their range. Knows the metadata of `knob`; knows no knob."""

from collections.abc import Iterator
from dataclasses import Field, fields, is_dataclass
from typing import Any


def violations(node: Any, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Every value of a dataclass tree that is outside its range, as (dotted key, problem with the remedy)."""
    for item in fields(node):
        value, dotted = getattr(node, item.name), f"{prefix}{item.name}"
        if is_dataclass(value):
            yield from violations(value, f"{dotted}.")
        elif isinstance(value, dict):
            for name, entry in value.items():
                yield from violations(entry, f"{dotted}.{name}.")
        else:
            yield from ((dotted, problem) for problem in _outside(item, value))
    if hasattr(node, "problems"):
        yield from ((f"{prefix}{key}", problem) for key, problem in node.problems())


def outside(node: Any, dotted: str) -> list[str]:
    """What is wrong with the value at one dotted key by itself, whatever other knobs say."""
    *above, last = dotted.split(".")
    for part in above:
        node = node[part] if isinstance(node, dict) else getattr(node, part)
    if isinstance(node, dict) or is_dataclass(getattr(node, last)):
        return []
    [item] = [item for item in fields(node) if item.name == last]
    return list(_outside(item, getattr(node, last)))


def _outside(item: "Field[Any]", value: Any) -> Iterator[str]:
    legal = item.metadata
    elements = list(value) if isinstance(value, (list, tuple)) else [value]
    shown = list(value) if isinstance(value, tuple) else value
    if not all(isinstance(element, (int, float)) for element in elements):
        return
    low, high, above = legal.get("low"), legal.get("high"), legal.get("above")
    if low is not None and any(not element >= low for element in elements):
        yield f"= {shown} is below {low}; use {low} or more"
    if above is not None and any(not element > above for element in elements):
        yield f"= {shown} is not above {above}"
    if high is not None and any(not element <= high for element in elements):
        yield f"= {shown} is above {high}; use {high} or less"
    if legal.get("ordered") and elements[0] > elements[1]:
        yield f"= {shown} runs backwards; write [low, high], for example {elements[::-1]}"
    if legal.get("total") is not None and abs(sum(elements) - legal["total"]) > 1e-6:
        yield f"= {shown} adds up to {sum(elements):g}; it must be {legal['total']:g}"
