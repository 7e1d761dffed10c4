"""Figures that papers published: `data/published/*.yaml`, checked when read.

Knows the format of these files and the origin of each figure. Knows nothing of our runs, or of how a table is shown.
Figures stay as printed, since 25.00 says more than 25.0.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from lit_pure.config.project import PROJECT
from lit_pure.files.reading import refusing
from lit_pure.files.yaml12 import parse

FOLDER = PROJECT / "data" / "published"
BETTER = ("higher", "lower", "")
"""Which of two figures in a column is better; "" is neither."""
ASIDES = {"": "{}{}", "difference": "{} ({})", "variance": "{}/{}"}
"""Meaning of the second figure in a cell -> format of both."""
ABSENT = "~"
"""In place of a figure that the paper does not have."""
_NUMBER = r"-?\d+(?:\.\d+)?"
_CELL = {
    "": re.compile(f"({_NUMBER})()"),
    "difference": re.compile(rf"({_NUMBER})(?: \(({_NUMBER})\))?"),
    "variance": re.compile(f"({_NUMBER})(?:/({_NUMBER}))?"),
}


@dataclass(frozen=True)
class Figure:
    """One printed figure."""

    text: str
    aside: str = ""
    """The second figure of the cell; "" is none."""

    def __post_init__(self) -> None:
        if not all(re.fullmatch(_NUMBER, part) for part in (self.text, self.aside or "0")):
            raise ValueError(f"{self.text!r} {self.aside!r}: give a number such as 25.00")

    @property
    def value(self) -> float:
        """The number."""
        return float(self.text)

    @property
    def decimals(self) -> int:
        """Digits after the decimal point."""
        return decimals(self.text)


@dataclass(frozen=True)
class PublishedTable:
    """One table of a paper: test sets (or other parts) with rows, each with one cell per column.

    Raises ValueError naming key and value of a mistake.
    """

    place: str
    """Number or name in the paper."""
    title: str
    """Its content, in our words."""
    rows: str
    """The paper's name for its rows."""
    columns: Mapping[str, str]
    """Labels of metrics -> one of `BETTER`."""
    sets: Mapping[str, Mapping[str, tuple[Figure | None, ...]]]
    """Figures by test set and row."""
    aside: str = ""
    """One of `ASIDES`."""
    parts: str = "Test set"
    """Name of the parts."""
    sides: Mapping[str, int] = field(default_factory=dict)
    """Side of the scored pictures of each set [px]; sets with an unknown side are left out."""

    def __post_init__(self) -> None:
        for key in ("place", "title", "rows", "parts"):
            if not isinstance(value := getattr(self, key), str) or not value:
                raise ValueError(f"{key} = {value!r}: give a text")
        if not isinstance(self.aside, str) or self.aside not in ASIDES:
            raise ValueError(f"aside = {self.aside!r}: there are {', '.join(filter(None, ASIDES))}")
        if wrong := sorted(self.sides.keys() - _mapping(self.sets, "sets").keys()):
            raise ValueError(f"sides.{wrong[0]} = {self.sides[wrong[0]]}: there is no such set")
        for label, better in _mapping(self.columns, "columns").items():
            if better not in BETTER:
                raise ValueError(f"columns.{label} = {better!r}: write higher, lower or nothing")
        for name, rows in _mapping(self.sets, "sets").items():
            for row, cells in _mapping(rows, f"sets.{name}").items():
                if len(cells) != len(self.columns):
                    raise ValueError(
                        f"sets.{name}.{row} = {[cell and cell.text for cell in cells]}: {len(cells)} figures for the "
                        f"{len(self.columns)} columns {', '.join(self.columns)}"
                    )

    def decimals(self, column: int) -> tuple[int, int]:
        """Most decimals of the figures in a column, and of the second figures in its cells."""
        figures = [cells[column] for rows in self.sets.values() for cells in rows.values()]
        printed = [(figure.decimals, decimals(figure.aside)) for figure in figures if figure]
        return max((first for first, _ in printed), default=0), max((second for _, second in printed), default=0)


@dataclass(frozen=True)
class Paper:
    """The tables of one paper."""

    name: str
    arxiv: str
    """Number at arXiv."""
    tables: Mapping[str, PublishedTable]

    def table(self, key: str) -> PublishedTable:
        """One table. Raises ValueError where the file does not have it."""
        if key not in self.tables:
            raise ValueError(f"data/published has no tables.{key} of {self.name}; there are {', '.join(self.tables)}")
        return self.tables[key]


def load(name: str, folder: Path = FOLDER) -> Paper:
    """The figures of `folder/name.yaml`. Raises ValueError naming file, key and value of a mistake."""
    path = folder / f"{name}.yaml"
    with refusing(path, "correct it"):
        content = parse(path.read_text(encoding="utf-8"))  # figures keep the digits that are printed
    try:
        arxiv = _mapping(content, "the file").get("arxiv", "")
        if not re.fullmatch(r"\d{4}\.\d{4,5}", str(arxiv)):
            raise ValueError(f"arxiv = {arxiv!r}: give a number such as 2503.11073")
        if not isinstance(paper := content.get("paper"), str) or not paper:
            raise ValueError(f"paper = {paper!r}: give a name")
        tables = _mapping(content.get("tables"), "tables")
        return Paper(paper, arxiv, {key: _table(table, f"tables.{key}") for key, table in tables.items()})
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def decimals(text: str) -> int:
    """Digits after the decimal point of a printed number."""
    return len(text.partition(".")[2])


def _table(content: Any, key: str) -> PublishedTable:
    content = dict(_mapping(content, key))
    if wrong := sorted(content.keys() - {item.name for item in fields(PublishedTable)}):
        raise ValueError(f"{key}.{wrong[0]} = {content[wrong[0]]!r}: no such key")
    aside = content.get("aside", "")
    try:
        sets = {
            name: {
                row: _cells(cells, aside, f"sets.{name}.{row}") for row, cells in _mapping(rows, f"sets.{name}").items()
            }
            for name, rows in _mapping(content.get("sets"), "sets").items()
        }
        known = {name: content.get(name) for name in ("place", "title", "rows", "columns")}
        parts, sides = content.get("parts", "Test set"), _sides(content.get("sides"))
        return PublishedTable(**known, sets=sets, aside=aside, parts=parts, sides=sides)
    except ValueError as error:
        raise ValueError(f"{key}.{error}") from error


def _sides(content: Any) -> dict[str, int]:
    found = {} if content is None else _mapping(content, "sides")
    for name, side in found.items():
        if not isinstance(side, str) or not re.fullmatch(r"[1-9]\d*", side):
            raise ValueError(f"sides.{name} = {side!r}: give a number of px")
    return {name: int(side) for name, side in found.items()}


def _cells(cells: Any, aside: Any, key: str) -> tuple[Figure | None, ...]:
    if not isinstance(cells, list):
        raise ValueError(f"{key} = {cells!r}: give a list of figures")
    return tuple(_figure(cell, aside, key) for cell in cells)


def _figure(cell: Any, aside: Any, key: str) -> Figure | None:
    if cell == ABSENT:
        return None
    form = _CELL.get(str(aside), _CELL[""])  # an unknown `aside` is reported with the table
    found = form.fullmatch(cell) if isinstance(cell, str) else None
    if found is None:
        raise ValueError(f"{key} = {cell!r}: give a number such as 25.00, or {ABSENT}")
    return Figure(found[1], found[2] or "")


def _mapping(value: Any, key: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping) or not value:
        raise ValueError(f"{key} = {value!r}: expected keys and values")
    return value
