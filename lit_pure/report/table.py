"""A table to show: heads, columns, rows in blocks, notes, and marks of the best and second figure of a column.

Knows how figures are ranked. Knows nothing of where they come from (`assemble.py`, `overview.py`), or of how they are
written (`render.py`).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

Mark = Literal["", "best", "second"]

NOTHING = "-"
"""A cell without a figure."""


@dataclass(frozen=True)
class Cell:
    """One figure as text."""

    text: str = NOTHING
    aside: str = ""
    """A second figure beside it, such as a variance; "" is none."""
    mark: Mark = ""


@dataclass(frozen=True)
class TableRow:
    """A line of a table."""

    head: tuple[str, ...]
    """Texts before the figures."""
    cells: tuple[Cell, ...]
    group: str | None = None
    """Rows of one group are ranked together; None is not ranked."""
    below: bool = False
    """Whether it belongs to the row above; it is indented then."""


@dataclass(frozen=True)
class Table:
    """Blocks of rows below columns."""

    title: str
    heads: tuple[str, ...]
    """Names of the texts before the figures."""
    columns: Mapping[str, str]
    """Labels -> "higher", "lower" or "": which of two figures is better."""
    blocks: tuple[tuple[TableRow, ...], ...]
    notes: tuple[str, ...] = ()
    aside: tuple[str, str] = ("", "{}{}")
    """Meaning of second figures, and format of two figures in one cell."""

    @property
    def best(self) -> bool:
        """Whether any figure is marked."""
        return any(cell.mark for block in self.blocks for row in block for cell in row.cells)

    def format_cell(self, cell: Cell) -> str:
        """The figures of a cell as one text."""
        return self.aside[1].format(cell.text, cell.aside) if cell.aside else cell.text


def mark_best(blocks: Iterable[Sequence[TableRow]], better: Sequence[str]) -> tuple[tuple[TableRow, ...], ...]:
    """The rows, with the best and the second figure of each column and group marked, as displayed.

    Equal figures share a mark, so "second" is the next different figure; a group with a single figure gets no mark.

    Args:
        blocks: rows, each with one cell per column.
        better: "higher", "lower" or "" (not ranked) for each column.
    """
    kept = [list(block) for block in blocks]
    groups: dict[str, list[TableRow]] = {}
    for row in (row for block in kept for row in block):
        if row.group is not None:
            groups.setdefault(row.group, []).append(row)
    places = {
        (group, column): _places([row.cells[column] for row in rows], direction)
        for group, rows in groups.items()
        for column, direction in enumerate(better)
    }

    def marked(row: TableRow) -> TableRow:
        if row.group is None:
            return row
        cells = (
            replace(cell, mark=places[row.group, column].get(_value(cell), "")) for column, cell in enumerate(row.cells)
        )
        return replace(row, cells=tuple(cells))

    return tuple(tuple(marked(row) for row in block) for block in kept)


def _places(cells: Sequence[Cell], direction: str) -> dict[float | None, Mark]:
    """Marks of the best figure and the next different one; empty for a single figure or without a direction."""
    values = [value for cell in cells if (value := _value(cell)) is not None]
    if not direction or len(values) < 2:
        return {}
    marks: tuple[Mark, ...] = ("best", "second")
    return dict(zip(sorted(set(values), reverse=direction == "higher"), marks, strict=False))


def _value(cell: Cell) -> float | None:
    return None if cell.text == NOTHING else float(cell.text)


def transpose(table: Table) -> Table:
    """Transpose a table: the first head names the new columns, further heads become rows.

    Marks are kept; the new columns have no direction.
    """
    rows = [row for block in table.blocks for row in block]
    heads = [TableRow((head,), tuple(Cell(row.head[at]) for row in rows)) for at, head in enumerate(table.heads[1:], 1)]
    figures = [TableRow((label,), tuple(row.cells[at] for row in rows)) for at, label in enumerate(table.columns)]
    return replace(table, heads=("",), columns={row.head[0]: "" for row in rows}, blocks=((*heads, *figures),))
