"""Reads YAML as version 1.2 means it: the one way in which this project reads YAML of any kind.

Version 1.1, which PyYAML reads, takes `0010` for 8, `12:30` for 750, `2024_01` for 202401 and `on` for true. Here a
value without quotes keeps its letters (`Plain`) until it is known whether text or a number is wanted; numbers are
decimal. Knows nothing of what a file is for.
"""

import re
from collections.abc import Iterator
from typing import Any

import yaml

FAST = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""The parser written in C, which some builds of PyYAML lack."""
MOST = 200_000
"""Most values of a file, with what its aliases stand for."""
DEEPEST = 100
"""Deepest nesting."""
WHOLE = re.compile(r"[-+]?0*[0-9]{1,18}")
NUMBER = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
NULLS = ("", "~", "null", "Null", "NULL")
BOOLEANS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_STANDARD = "tag:yaml.org,2002:"
_TEXT_TAGS, _OTHER_TAGS = ("!", f"{_STANDARD}str"), {f"{_STANDARD}{name}" for name in ("null", "bool", "int", "float")}


class Plain(str):
    """A value without quotes, by its letters."""


def parse(text: str) -> Any:
    """Dictionaries with text as keys, lists, `Plain` where there are no quotes, and str where there are.

    Anchors, aliases and merge keys (<<) are followed. An empty text is None.

    Raises:
        ValueError: in one line: it is not YAML, repeats a key, is nested too deeply or too long, has several documents
            or tags of its own.
    """
    try:
        return _Tree(yaml.parse(str(text), Loader=FAST)).document()  # the parser takes no subclass of str
    except yaml.YAMLError as error:
        raise ValueError(" ".join(str(error).split()).replace('in "<unicode string>", line', "in line")) from error


def resolved(value: Any) -> Any:
    """The same with null, booleans and numbers in place of letters, by YAML 1.2's core rules; numbers are decimal."""
    if isinstance(value, dict):
        return {key: resolved(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [resolved(entry) for entry in value]
    return _resolved_letters(value) if isinstance(value, Plain) else value


def _resolved_letters(letters: Plain) -> Any:
    if letters in NULLS:
        return None
    if letters in BOOLEANS:
        return BOOLEANS[letters]
    if WHOLE.fullmatch(letters):
        return int(letters)
    return number(letters) if NUMBER.fullmatch(letters) else str(letters)


def number(letters: str) -> float:
    """The number that matches `NUMBER`."""
    return float(re.sub(r"\.(?=[in])", "", letters.lower()))  # Python writes .inf and .nan without the point


class _Tree:
    """Builds values from the events of a parser: without recursion in C, which a deep file would crash."""

    def __init__(self, events: Iterator[Any]) -> None:
        self._events = events
        self._anchors: dict[str, tuple[Any, int]] = {}
        """Values by anchor, each with the number of values that had been read before it, and within it."""
        self._count = 0

    def document(self) -> Any:
        """The only document. Raises ValueError, or YAMLError."""
        tree: Any = None
        for number_of, event in enumerate(self._documents()):
            if number_of:
                raise ValueError("it has several documents; write one")
            tree = self._value(event, 0)
        return tree

    def _documents(self) -> Iterator[Any]:
        for event in self._events:
            if isinstance(event, yaml.DocumentStartEvent):
                yield next(self._events)

    def _value(self, event: Any, depth: int) -> Any:
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event)
        if depth > DEEPEST:
            raise ValueError("it is nested too deeply")
        before = self._count
        self._add(1)
        if isinstance(event, yaml.ScalarEvent):
            value: Any = _scalar(event)
        else:
            _refuse_tag(event, f"{_STANDARD}seq", f"{_STANDARD}map")
            mapping = isinstance(event, yaml.MappingStartEvent)
            value = self._mapping(depth + 1) if mapping else self._sequence(depth + 1)
        if event.anchor is not None:
            self._anchors[event.anchor] = value, self._count - before
        return value

    def _alias(self, event: Any) -> Any:
        if event.anchor not in self._anchors:
            raise ValueError(f"the alias *{event.anchor} stands for nothing above, or for itself")
        value, count = self._anchors[event.anchor]
        self._add(count)
        return value

    def _add(self, count: int) -> None:
        self._count += count
        if self._count > MOST:
            raise ValueError(f"it has more than {MOST:,} values")

    def _sequence(self, depth: int) -> list[Any]:
        found = []
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            found.append(self._value(event, depth))
        return found

    def _mapping(self, depth: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        merged: dict[str, Any] = {}
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            key = self._value(event, depth)
            if not isinstance(key, str):
                raise ValueError(f"a key is text, and not {resolved(key)!r:.40}{_where(event)}")
            value = self._value(next(self._events), depth)
            if key == "<<" and isinstance(key, Plain):
                merged = _merged(value, event) | merged
            elif str(key) in found:
                raise ValueError(f"the key {key} is repeated{_where(event)}")
            else:
                found[str(key)] = value
        return merged | found


def _merged(value: Any, event: Any) -> dict[str, Any]:
    """What a merge key adds: the first of several mappings wins."""
    parts = value if isinstance(value, list) else [value]
    if not all(isinstance(part, dict) for part in parts):
        raise ValueError(f"<< takes keys and values, or a list of them{_where(event)}")
    return {key: entry for part in reversed(parts) for key, entry in part.items()}


def _scalar(event: Any) -> str:
    if event.tag in _TEXT_TAGS:
        return str(event.value)
    _refuse_tag(event, *_OTHER_TAGS)
    return Plain(event.value) if event.implicit[0] or event.tag is not None else str(event.value)


def _refuse_tag(event: Any, *known: str) -> None:
    if event.tag is not None and event.tag != "!" and event.tag not in known:
        raise ValueError(f"the tag {event.tag} is not read here; leave it out{_where(event)}")


def _where(event: Any) -> str:
    return f" (line {event.start_mark.line + 1})"
