"""A table to be shown: heads, columns, rows in blocks, notes, and which figures of a column are best and second.

Knows nothing of where figures come from (`assemble.py`, `overview.py`), nor of how they are written (`render.py`).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

Mark = Literal["", "best", "second"]

NOTHING = "-"
"""A cell without a figure."""


@dataclass(frozen=True)
class Cell:
    """One figure, as it is shown."""

    text: str = NOTHING
    aside: str = ""
    """A second figure beside it, such as a variance; "" is none."""
    mark: Mark = ""


@dataclass(frozen=True)
class Row:
    """A line of a table."""

    head: tuple[str, ...]
    """What stands before the figures."""
    cells: tuple[Cell, ...]
    group: str | None = None
    """Rows of one group are ranked among each other; a row of None is not ranked."""
    below: bool = False
    """Whether it belongs to the row above, and is indented."""


@dataclass(frozen=True)
class Table:
    """Blocks of rows below columns."""

    title: str
    heads: tuple[str, ...]
    """Names of what stands before the figures."""
    columns: Mapping[str, str]
    """Labels, each with "higher", "lower" or "": which of two figures is better."""
    blocks: tuple[tuple[Row, ...], ...]
    notes: tuple[str, ...] = ()
    aside: tuple[str, str] = ("", "{}{}")
    """What second figures are, and how two are written in one cell."""

    @property
    def best(self) -> bool:
        """Whether any figure is marked."""
        return any(cell.mark for block in self.blocks for row in block for cell in row.cells)

    def format_cell(self, cell: Cell) -> str:
        """The figures of a cell in one text."""
        return self.aside[1].format(cell.text, cell.aside) if cell.aside else cell.text


def mark_best(blocks: Iterable[Sequence[Row]], better: Sequence[str]) -> tuple[tuple[Row, ...], ...]:
    """The rows with the best and the second figure of each column and group marked, as they are shown.

    Equal figures share a mark, so that "second" is the next figure that differs; a group of a single figure gets none.

    Args:
        blocks: rows, all with as many cells as there are columns.
        better: "higher", "lower" or "" (not ranked) for each column.
    """
    kept = [list(block) for block in blocks]
    groups: dict[str, list[Row]] = {}
    for row in (row for block in kept for row in block):
        if row.group is not None:
            groups.setdefault(row.group, []).append(row)
    places = {
        (group, column): _places([row.cells[column] for row in rows], direction)
        for group, rows in groups.items()
        for column, direction in enumerate(better)
    }

    def marked(row: Row) -> Row:
        if row.group is None:
            return row
        cells = (
            replace(cell, mark=places[row.group, column].get(_value(cell), "")) for column, cell in enumerate(row.cells)
        )
        return replace(row, cells=tuple(cells))

    return tuple(tuple(marked(row) for row in block) for block in kept)


def _places(cells: Sequence[Cell], direction: str) -> dict[float | None, Mark]:
    """The best figure and the next that differs; nothing where one figure stands alone or none is better."""
    values = [value for cell in cells if (value := _value(cell)) is not None]
    if not direction or len(values) < 2:
        return {}
    marks: tuple[Mark, ...] = ("best", "second")
    return dict(zip(sorted(set(values), reverse=direction == "higher"), marks, strict=False))


def _value(cell: Cell) -> float | None:
    return None if cell.text == NOTHING else float(cell.text)


def transpose(table: Table) -> Table:
    """Columns become rows and rows columns; of the heads, the first names the columns and the others become rows.

    Marks stay as they are: a column of the new table has no direction.
    """
    rows = [row for block in table.blocks for row in block]
    heads = [Row((head,), tuple(Cell(row.head[at]) for row in rows)) for at, head in enumerate(table.heads[1:], 1)]
    figures = [Row((label,), tuple(row.cells[at] for row in rows)) for at, label in enumerate(table.columns)]
    return replace(table, heads=("",), columns={row.head[0]: "" for row in rows}, blocks=((*heads, *figures),))
