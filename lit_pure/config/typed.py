"""Gives each knob what was written for it: text as its letters, numbers as decimal numbers.

Knows the types of knobs, and values that have no type yet: of YAML (`files/yaml12.py`) and of the command line. Knows
no knob, and nothing of where values come from.
"""

import typing
from dataclasses import fields, is_dataclass
from functools import cache
from typing import Any, Literal

from lit_pure.files.reading import shown
from lit_pure.files.yaml12 import BOOLEANS, NULLS, NUMBER, WHOLE, Plain, number, parse, resolved

QUOTES = ("'", '"')
BITS = {"0": False, "1": True}
"""Numbers that count as truth values."""
LISTS = "put text with # , : [ ] { } in quotes"


class Argument(str):
    """What is behind the first `=` on the command line: text for a knob that is text, else YAML."""


class Unfit(ValueError):
    """A value that its knob cannot have; the message says what would do."""

    def __init__(self, key: str, value: Any, expected: str) -> None:
        super().__init__(expected)
        self.key, self.value = key, f"{value:.80}" if isinstance(value, str) else shown(resolved(value))


def text_of(value: Any) -> Any:
    """What a text knob takes of a value: its letters, without the quotes around all of it; None where it is null."""
    if isinstance(value, Argument):
        return _unquoted(value)
    if isinstance(value, Plain):
        return None if value in NULLS else str(value)
    return value


def fitted(hint: Any, value: Any, key: str = "") -> Any:
    """The value with the type of its knob, as far as that is certain; what is not is left for the merge to refuse.

    Args:
        hint: the type: a dataclass for a section, else that of a knob; None for a key that does not exist.
        value: as `parse` returns it, or an `Argument`, or a value that has a type already.
        key: its dotted key, for errors.

    Raises:
        Unfit: it is not decimal, or no list of that length, or no section.
    """
    if _is_text(hint):
        return text_of(value)
    value = _read(value, hint, key)
    if is_dataclass(hint) or typing.get_origin(hint) is dict:
        return _section(hint, value, key)
    if typing.get_origin(hint) in (list, tuple):
        return _elements(hint, value, key)
    if hint in _SCALARS and isinstance(value, str) and "${" not in value:
        return _SCALARS[hint](value, key)
    return resolved(value)


@cache
def hints_of(schema: type) -> dict[str, Any]:
    """The types of a dataclass's knobs."""
    found = typing.get_type_hints(schema)
    return {item.name: found[item.name] for item in fields(schema)}


def hint_at(schema: Any, dotted: str) -> Any:
    """The type of the knob at a dotted key; None where there is none."""
    for part in dotted.split("."):
        if typing.get_origin(schema) is dict:
            schema = typing.get_args(schema)[1]
        else:
            schema = hints_of(schema).get(part) if isinstance(schema, type) and is_dataclass(schema) else None
    return schema


def _is_text(hint: Any) -> bool:
    words = typing.get_args(hint) if typing.get_origin(hint) is Literal else ()
    return hint is str or (bool(words) and all(isinstance(word, str) for word in words))


def _read(value: Any, hint: Any, key: str) -> Any:
    """YAML of the command line, read; of a key that does not exist, as text where it is no YAML."""
    if not isinstance(value, Argument):
        return value
    try:
        return parse(value)
    except ValueError as error:
        if hint is None:
            return str(value)
        raise Unfit(key, value, f"cannot be read: {error}; {LISTS}") from error


def _section(hint: Any, value: Any, key: str) -> Any:
    if not isinstance(value, dict):
        if value is None or (isinstance(value, Plain) and value in NULLS) or "${" in str(value):
            return resolved(value)
        raise Unfit(key, value, "has keys of its own; write one of them, or {KEY: VALUE}")
    below = f"{key}." if key else ""
    if typing.get_origin(hint) is dict:
        entry = typing.get_args(hint)[1]
        return {name: fitted(entry, found, f"{below}{name}") for name, found in value.items()}
    hints = hints_of(hint)
    return {name: fitted(hints.get(name), found, f"{below}{name}") for name, found in value.items()}


def _elements(hint: Any, value: Any, key: str) -> Any:
    if isinstance(value, str) and "${" in value:
        return str(value)
    if not isinstance(value, list | tuple):
        raise Unfit(key, value, "is no list; write [A, B]")
    kind, *others = typing.get_args(hint)
    if typing.get_origin(hint) is tuple and others[:1] != [...] and len(value) != 1 + len(others):
        raise Unfit(key, value, f"is a list of {len(value)}; write {1 + len(others)} values")
    if not _is_text(kind):
        if kind in _SCALARS and (nested := [element for element in value if isinstance(element, list | tuple | dict)]):
            raise Unfit(key, nested[0], "is no number; write [A, B], without further brackets")
        return [fitted(kind, element, key) for element in value]
    if odd := [element for element in value if not isinstance(element, str)]:
        raise Unfit(key, odd[0], f"is no text; {LISTS}")
    return [str(element) for element in value]


def _whole(letters: str, key: str) -> int:
    if not WHOLE.fullmatch(letters):
        raise Unfit(key, letters, "is no Integer; write it in at most 18 decimal digits")
    return int(letters)


def _float(letters: str, key: str) -> float:
    if not NUMBER.fullmatch(letters):
        raise Unfit(key, letters, "is no Float; write a decimal number, for example 0.001 or 1e-3")
    return number(letters)


def _truth(letters: str, key: str) -> bool:
    if (known := {**BOOLEANS, **BITS}.get(letters)) is None:
        raise Unfit(key, letters, "is no Boolean; write true or false")
    return known


_SCALARS = {int: _whole, float: _float, bool: _truth}


def _unquoted(raw: str) -> str:
    if len(raw) > 1 and raw[0] in QUOTES and raw[-1] == raw[0]:
        try:
            inner = parse(raw)
        except ValueError:
            return str(raw)
        if isinstance(inner, str) and not isinstance(inner, Plain):
            return inner
    return str(raw)
