"""The JSON schema of experiment files, with which editors check YAML, complete keys and show each knob's meaning.

Knows JSON schema (draft 2020-12), and that a file only has differences to its base: no key is required, a test set may
be null, and `${KEY}` may replace any value. Knows no family's knobs (`meanings.py` reads them). `compose` checks rules
that involve several values.
"""

import json
import re
import typing
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import MISSING, is_dataclass
from typing import Any

from lit_pure.config.data import SET_NAME
from lit_pure.config.experiment import Experiment
from lit_pure.config.families import FAMILIES
from lit_pure.config.meanings import Knob, choices, knobs, remark
from lit_pure.config.search import MEANINGS, SearchConfig

Schema = dict[str, Any]
DIALECT = "https://json-schema.org/draft/2020-12/schema"
INTERPOLATION = {"type": "string", "pattern": r"\$\{"}
"""Text that is replaced by the value of another knob."""
TYPES = {bool: "boolean", int: "integer", float: "number"}
"""Names of types in JSON schema; each is a definition that also accepts an interpolation."""
BOUNDS = {"low": "minimum", "high": "maximum", "above": "exclusiveMinimum"}
"""Bounds of `knob` -> keywords of JSON schema."""
ANY_SET = "*"
"""Stands for any name of a test set in a dotted key."""
WIDTH = 120
"""Longest line of the file [characters], except for long lists and descriptions."""


def schema_text() -> str:
    """The schema of all families as the content of a JSON file."""
    return _laid_out(schema(FAMILIES)) + "\n"


def schema(families: Mapping[str, type[Experiment]]) -> Schema:
    """The schema of a file below experiments/, and of a run's config.yaml.

    A file's `family:` decides which keys it may have. A file without it may have the keys of any single family, since
    its base decides; a file with neither `family:` nor `base:` has the default family.
    """
    roots = families.values()
    found = _by_key((knob.name, _value(knob)) for root in roots for knob in knobs(root))
    swept = _by_key(item for root in roots for item in _dotted(root, "", "#"))
    several = {key for key, values in found.items() if len(values) > 1}
    definitions = {name: _or_interpolation(name) for name in (*TYPES.values(), "array")}
    definitions |= {"list": {"type": "array", "minItems": 1}, "axis": _axis()}
    for family, root in families.items():
        definitions |= _sections(root)
        definitions[f"family.{family}"] = _family(family, root, several)
    keys = {key: _any_of(values) for key, values in found.items()}
    keys["family"] = {"enum": list(families), "description": found["family"][0]["description"]}
    return {
        "$schema": DIALECT,
        "$comment": "made by: lit-pure config --schema --out experiments/schema.json",
        "title": "An experiment",
        "description": "The differences to its base. To see every knob with its value: lit-pure config NAME",
        "type": "object",
        "properties": keys | {"sweep": _sweep(swept), "search": _search(swept)},
        "additionalProperties": False,
        "allOf": list(_which_family(families)),
        "$defs": definitions,
    }


def _which_family(families: Iterable[str]) -> Iterator[Schema]:
    """Rules for the family whose keys a file may have."""
    own = {family: {"$ref": f"#/$defs/family.{family}"} for family in families}
    for family, keys in own.items():
        named = {"required": ["family"], "properties": {"family": {"const": family}}}
        yield {"if": named, "then": keys}
    without = [{"required": ["family"]}, {"required": ["base"]}]
    yield {"if": {"not": {"anyOf": without}}, "then": own[Experiment.family]}
    yield {"if": {"not": without[0]}, "then": {"anyOf": list(own.values())}}


def _family(family: str, root: type[Experiment], several: Iterable[str]) -> Schema:
    """The keys of a family; with their values if another family has the same key with other values."""
    names = [knob.name for knob in knobs(root)]
    different = {knob.name: _value(knob) for knob in knobs(root) if knob.name in several}
    swept = {"propertyNames": {"pattern": rf"^({'|'.join(names)})(\.|$)"}}
    searched = {"properties": {"space": swept}}
    return {
        "propertyNames": {"enum": [*names, "sweep", "search"]},
        "properties": different | {"family": {"const": family}, "sweep": swept, "search": searched},
    }


def _sections(kind: type) -> Schema:
    """A definition for each dataclass below `kind`."""
    found: Schema = {}
    for part in filter(None, (_part(knob.hint) for knob in knobs(kind))):
        properties = {knob.name: _value(knob) for knob in knobs(part)}
        found[_name(part)] = {"type": "object", "properties": properties, "additionalProperties": False}
        found |= _sections(part)
    return found


def _dotted(kind: type, prefix: str, place: str) -> Iterator[tuple[str, Schema]]:
    """Dotted keys, with ANY_SET for the name of a set, and the schema of their values.

    `place` is the location of the properties of `kind` in the schema.
    """
    for knob in knobs(kind):
        dotted, part = f"{prefix}{knob.name}", _part(knob.hint)
        if part is None:
            yield dotted, {"$ref": f"{place}/properties/{knob.name}"}
        elif part is knob.hint:
            yield dotted, {"$ref": _place(part)}
            yield from _dotted(part, f"{dotted}.", _place(part))
        else:
            yield from _dotted(part, f"{dotted}.{ANY_SET}.", _place(part))


def _sweep(swept: Mapping[str, Sequence[Schema]]) -> Schema:
    words = "Dotted keys with lists of values: each combination is a variant (lit-pure sweep NAME)."
    return _by_dotted_key(
        words, {key: {"$ref": "#/$defs/list", "items": _any_of(values)} for key, values in swept.items()}
    )


def _search(swept: Mapping[str, Sequence[Schema]]) -> Schema:
    """`config/search.py` checks ranges against those of the knobs."""
    space = _by_dotted_key("Dotted keys with a distribution each.", {key: {"$ref": "#/$defs/axis"} for key in swept})
    keys = {knob.name: _value(knob) for knob in knobs(SearchConfig) if knob.name != "space"}
    return {
        "description": "Optuna looks for the best values of knobs, trial by trial (lit-pure sweep NAME).",
        "type": "object",
        "properties": {"space": space, **keys},
        "required": ["space"],
        "additionalProperties": False,
    }


def _axis() -> Schema:
    """Exactly one distribution."""
    pair = {"type": "array", "items": {"type": "number"}, "minItems": 2, "maxItems": 2}
    kinds = {kind: {**pair, "description": words} for kind, words in MEANINGS.items() if kind != "choice"}
    return {
        "type": "object",
        "properties": {**kinds, "choice": {"$ref": "#/$defs/list", "description": MEANINGS["choice"]}},
        "minProperties": 1,
        "maxProperties": 1,
        "additionalProperties": False,
    }


def _by_dotted_key(words: str, values: dict[str, Schema]) -> Schema:
    """A table from dotted keys; in place of ANY_SET a key has the name of a set."""
    patterns = {key: re.escape(key).replace(re.escape(ANY_SET), SET_NAME) for key in values if ANY_SET in key}
    return {
        "description": words,
        "type": "object",
        "minProperties": 1,
        "properties": {key: value for key, value in values.items() if key not in patterns},
        "patternProperties": {f"^{pattern}$": values[key] for key, pattern in patterns.items()},
        "additionalProperties": False,
    }


def _value(knob: Knob) -> Schema:
    """The legal values of a knob, its meaning, and its default."""
    part = _part(knob.hint)
    if part is None:
        value = _plain(knob.hint, {BOUNDS[word]: limit for word, limit in knob.legal.items() if word in BOUNDS})
        if knob.default is not MISSING:
            value["default"] = list(knob.default) if isinstance(knob.default, tuple) else knob.default
    elif part is knob.hint:
        value = {"$ref": _place(part)}
    else:
        entry = {"anyOf": [{"$ref": _place(part)}, {"type": "null"}]}
        value = {"type": "object", "propertyNames": {"pattern": f"^{SET_NAME}$"}, "additionalProperties": entry}
    return value | {"description": remark(knob)}


def _plain(hint: Any, bounds: Schema) -> Schema:
    """The schema of a value that is not a section, and of each element of a list."""
    if typing.get_origin(hint) is list:
        return {"$ref": "#/$defs/array", "items": _plain(typing.get_args(hint)[0], bounds)}
    if typing.get_origin(hint) is tuple:
        kinds = typing.get_args(hint)
        size = {"minItems": len(kinds), "maxItems": len(kinds)}
        return {"$ref": "#/$defs/array", "items": _plain(kinds[0], bounds), **size}
    if named := choices(hint):
        return {"anyOf": [{"enum": list(named)}, INTERPOLATION]}
    if hint is str:
        return {"type": ["string", "number"]}  # a number becomes text
    return {"$ref": f"#/$defs/{TYPES[hint]}", **bounds}


def _or_interpolation(kind: str) -> Schema:
    message = f"Expected type {kind}, or ${{KEY}} for the value of another knob."
    return {"type": [kind, "string"], "pattern": INTERPOLATION["pattern"], "patternErrorMessage": message}


def _part(hint: Any) -> type | None:
    """The dataclass of a section, or of the values of a dictionary; None for a plain value."""
    inner = typing.get_args(hint)[1] if typing.get_origin(hint) is dict else hint
    return inner if isinstance(inner, type) and is_dataclass(inner) else None


def _name(kind: type) -> str:
    return f"{kind.__module__.rpartition('.')[2]}.{kind.__name__}"


def _place(kind: type) -> str:
    return f"#/$defs/{_name(kind)}"


def _by_key(found: Iterable[tuple[str, Schema]]) -> dict[str, list[Schema]]:
    """The different values of each key."""
    values: dict[str, list[Schema]] = {}
    for key, value in found:
        if value not in values.setdefault(key, []):
            values[key].append(value)
    return values


def _any_of(values: Sequence[Schema]) -> Schema:
    return values[0] if len(values) == 1 else {"anyOf": list(values)}


def _laid_out(value: Any, indent: str = "", before: int = 0) -> str:
    """Readable JSON: lists in one line, and objects too if they fit after `before` characters."""
    line = json.dumps(value, ensure_ascii=False)
    if not isinstance(value, dict) or before + len(line) < WIDTH:
        return line
    deeper = f"{indent} "
    keys = [f"{deeper}{json.dumps(key)}: " for key in value]
    lines = [key + _laid_out(entry, deeper, len(key)) for key, entry in zip(keys, value.values(), strict=True)]
    return "{\n" + ",\n".join(lines) + f"\n{indent}}}"
