"""An experiment as YAML that explains itself: each knob with its meaning, unit and range as a comment.

Knows YAML and the layout of comments. Knows no knob (`meanings.py` does), and nothing of where values come from
(`compose.py`).
"""

import json
import re
import textwrap
from collections.abc import Collection, Iterator, Sequence
from dataclasses import MISSING, dataclass, is_dataclass
from typing import Any

import yaml

from lit_pure.config.experiment import Experiment
from lit_pure.config.layers import TEST_SETS
from lit_pure.config.meanings import Knob, knobs, remark

WIDTH = 120
"""Longest line [characters]; text that cannot be wrapped may be longer."""
LONGEST = 38
"""If a knob and its value are longer than this, the comment is above them instead of behind [characters]."""
PLAIN = re.compile(r"(?!(?i:y|n|yes|no|on|off|true|false|null)\Z)[A-Za-z_][\w./-]*")
"""Text without quotes; what some version of YAML reads as something else is quoted."""


@dataclass(frozen=True)
class Row:
    """Lines of YAML, a single one except for a long list, and their comment."""

    lines: Sequence[str]
    comment: str


def annotated(experiment: Experiment, left_out: Collection[str] = ()) -> str:
    """The experiment as YAML with comments, in the order of its config.yaml, with a blank line between sections.

    `load` reads it back to an equal object, and so does `compose` if it is a file below experiments/.

    Args:
        experiment: as `compose` returns it.
        left_out: names of test sets that its base has and it has not; they are set to null.
    """
    blocks: list[list[Row]] = [[]]
    for row in _rows(experiment, "", left_out):
        if _is_section(row):
            blocks.append([])
        blocks[-1].append(row)
    return "\n".join("".join(f"{line}\n" for line in _laid_out(block)) for block in blocks if block)


def _is_section(row: Row) -> bool:
    return row.lines[0].endswith(":") and not row.lines[0].startswith(" ")


def _rows(node: Any, prefix: str, left_out: Collection[str]) -> Iterator[Row]:
    """A row for each knob below `node`; `prefix` is the dotted key of `node` with a dot."""
    indent = "  " * prefix.count(".")
    for knob in knobs(type(node)):
        value, dotted = getattr(node, knob.name), f"{prefix}{knob.name}"
        absent = left_out if dotted == TEST_SETS else ()
        if is_dataclass(value):
            yield Row([f"{indent}{knob.name}:"], knob.meaning)
            yield from _rows(value, f"{dotted}.", left_out)
        elif isinstance(value, dict) and (value or absent):
            yield Row([f"{indent}{knob.name}:"], knob.meaning)
            yield from (Row([f"{indent}  {name}: null"], "In the base; left out here.") for name in absent)
            for name, entry in value.items():
                yield Row([f"{indent}  {name}:"], "")
                yield from _rows(entry, f"{dotted}.{name}.", left_out)
        else:
            yield Row(_key_and_value(f"{indent}{knob.name}:", value), _comment(knob, value))


def _key_and_value(key: str, value: Any) -> list[str]:
    """One line, or one per element if that is too long."""
    line = f"{key} {text(value)}"
    if len(line) <= WIDTH or not isinstance(value, list | tuple):
        return [line]
    indent = " " * (len(key) - len(key.lstrip()) + 2)
    return [key, *(f"{indent}- {text(element)}" for element in value)]


def text(value: Any) -> str:
    """A value as YAML in one line that YAML 1.1, YAML 1.2 and OmegaConf read in the same way."""
    if isinstance(value, list | tuple):
        return f"[{', '.join(text(element) for element in value)}]"
    if isinstance(value, str):
        return value if PLAIN.fullmatch(value) else json.dumps(value, ensure_ascii=False)
    if isinstance(value, dict):
        return json.dumps(value)
    return str(yaml.safe_dump(value)).splitlines()[0]


def _comment(knob: Knob, value: Any) -> str:
    """Meaning and range, and the default if the value differs."""
    if knob.default is MISSING or value == knob.default:
        return remark(knob)
    return remark(knob, f"default {text(knob.default) if knob.default not in ('', []) else 'empty'}")


def _laid_out(rows: Sequence[Row]) -> Iterator[str]:
    """Short lines with comments behind them, aligned in one column; long lines with comments above."""
    column = max((len(row.lines[0]) for row in rows if _is_short(row)), default=0) + 2
    for row in rows:
        first, *more = row.lines
        short = _is_short(row)
        indent = " " * (column if short else len(first) - len(first.lstrip()))
        wrapped = textwrap.wrap(row.comment, WIDTH - len(indent) - 2, break_on_hyphens=False)
        words = [f"{indent}# {line}" for line in wrapped]
        if short and words:
            yield f"{first:<{column}}{words[0].lstrip()}"
            yield from words[1:]
        else:
            yield from [*words, first]
        yield from more


def _is_short(row: Row) -> bool:
    return len(row.lines) == 1 and len(row.lines[0]) <= LONGEST
