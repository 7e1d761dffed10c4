"""The meaning and range of each knob in words: the docstring below its field, and the range that `knob` sets.

Knows dataclasses and their source, since Python drops the docstrings of fields. Knows no knob, and no output format
(`annotated.py`, `schema.py`).
"""

import ast
import sys
import typing
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any, Literal


@dataclass(frozen=True)
class Knob:
    """A field of a dataclass of settings."""

    name: str
    hint: Any
    """Its type."""
    default: Any
    """MISSING if it has none."""
    meaning: str
    """Its docstring in one line; "" if it has none."""
    legal: Mapping[str, Any]
    """The arguments of `knob`: low, high, above, ordered, total."""


def knobs(kind: type) -> tuple[Knob, ...]:
    """The knobs of a dataclass in their order; without its own docstring, a field has that of the base class."""
    hints = typing.get_type_hints(kind)
    meanings: dict[str, str] = {}
    for parent in reversed(kind.__mro__):
        meanings |= _docstrings(parent.__module__).get(parent.__name__, {})
    return tuple(
        Knob(
            name=item.name,
            hint=hints[item.name],
            default=item.default if item.default_factory is MISSING else item.default_factory(),
            meaning=meanings.get(item.name, ""),
            legal=item.metadata,
        )
        for item in fields(kind)
    )


def choices(hint: Any) -> tuple[Any, ...]:
    """The legal values of a Literal, or of each element of a list of Literals; empty for other types."""
    if typing.get_origin(hint) is Literal:
        return typing.get_args(hint)
    return choices(typing.get_args(hint)[0]) if typing.get_origin(hint) is list else ()


def remark(knob: Knob, *more: str) -> str:
    """A knob's meaning, its range, and `more` about its value, for example "Peak learning rate. 0 to 1."."""
    legal = "; ".join(filter(None, [range_words(knob), *more]))
    return " ".join(filter(None, [knob.meaning, f"{legal[:1].upper()}{legal[1:]}." if legal else ""]))


def range_words(knob: Knob) -> str:
    """The range of a knob, for example "0 to 1" or "one of none, lora, qlora"; "" if it has none."""
    several = typing.get_origin(knob.hint) in (list, tuple)
    named = ", ".join(str(choice) or '""' for choice in choices(knob.hint))
    words = [f"{'any' if several else 'one'} of {named}"] if named else []
    if bounds := " and ".join(_bounds(knob.legal)):
        words.append(f"each {bounds}" if several else bounds)
    if knob.legal.get("ordered"):
        words.append("the lower one first")
    if "total" in knob.legal:
        words.append(f"together {knob.legal['total']:g}")
    return ", ".join(words)


def _bounds(legal: Mapping[str, Any]) -> Iterator[str]:
    low, high, above = legal.get("low"), legal.get("high"), legal.get("above")
    if low is not None and high is not None:
        yield f"{low} to {high}"
        return
    if above is not None:
        yield f"above {above}"
    if low is not None:
        yield f"{low} or more"
    if high is not None:
        yield f"at most {high}"


@cache
def _docstrings(module: str) -> dict[str, dict[str, str]]:
    """For each class of a module, the docstrings of its fields, each in one line."""
    file = getattr(sys.modules[module], "__file__", None)
    if file is None or not file.endswith(".py"):  # Python's own `object`
        return {}
    tree = ast.parse(Path(file).read_text(encoding="utf-8"))
    return {node.name: dict(_below_fields(node)) for node in ast.walk(tree) if isinstance(node, ast.ClassDef)}


def _below_fields(node: ast.ClassDef) -> Iterator[tuple[str, str]]:
    for statement, below in zip(node.body, node.body[1:], strict=False):
        match statement, below:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(words))):
                yield name, " ".join(words.split())
