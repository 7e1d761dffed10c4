"""What a knob is: a dataclass field with its legal range, and how a wrong value is reported.

Knows the metadata that `ranges.py` checks. Knows no knob.
"""

from dataclasses import field
from typing import Any

Problem = tuple[str, str]
"""A dotted key below the dataclass that reports it, and what is wrong with its value."""


def knob(
    default: Any,
    *,
    low: float | None = None,
    high: float | None = None,
    above: float | None = None,
    ordered: bool = False,
    total: float | None = None,
) -> Any:
    """A dataclass field with its legal range: `low <= x <= high`, `x > above`; lists and tuples element by element.

    `ordered` asks a pair to be (low, high); `total` asks the elements to add up to it.
    """
    legal = {"low": low, "high": high, "above": above, "ordered": ordered or None, "total": total}
    metadata = {key: value for key, value in legal.items() if value is not None}
    if isinstance(default, list):
        return field(default_factory=lambda: list(default), metadata=metadata)
    return field(default=default, metadata=metadata)
