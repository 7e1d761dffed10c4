"""The definition of a knob: a dataclass field with its legal range, and how a wrong value is reported.

Knows the metadata that `ranges.py` checks. Knows no knob.
"""

from collections.abc import Collection
from dataclasses import asdict, field
from typing import Any

Problem = tuple[str, str]
"""A dotted key below the dataclass that reports the problem, and what is wrong with its value."""


def knob(
    default: Any,
    *,
    low: float | None = None,
    high: float | None = None,
    above: float | None = None,
    ordered: bool = False,
    total: float | None = None,
) -> Any:
    """A dataclass field with its legal range: `low <= x <= high`, `x > above`; for lists and tuples, of each element.

    `ordered` requires a pair to be (low, high); `total` requires this sum of the elements.
    """
    legal = {"low": low, "high": high, "above": above, "ordered": ordered or None, "total": total}
    metadata = {key: value for key, value in legal.items() if value is not None}
    if isinstance(default, list):
        return field(default_factory=lambda: list(default), metadata=metadata)
    return field(default=default, metadata=metadata)


def identity(section: Any, younger: Collection[str] = (), silent: Collection[str] = ()) -> dict[str, Any]:
    """All that a result depends on, of a dataclass of knobs, for records of results.

    Args:
        section: the knobs.
        younger: knobs that older records have no word for; they count where they differ from their default.
        silent: knobs that change no result.
    """
    unchanged = {key for key in younger if getattr(section, key) == getattr(type(section), key)}
    return {key: value for key, value in asdict(section).items() if key not in {*silent, *unchanged}}
