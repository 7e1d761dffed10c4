"""A table in a paper's layout: published figures beside those of our runs, each on its own test set.

Knows which figure goes into which row and column. Knows nothing of run folders (`placement.py`), of the notes below the
table (`footnotes.py`), or of how it is written (`render.py`).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from lit_pure.config.compose import ConfigError
from lit_pure.metrics.protocols import protocol
from lit_pure.metrics.table import METRICS
from lit_pure.report import footnotes
from lit_pure.report.layouts import LAYOUTS, Layout
from lit_pure.report.measured import MeasuredFigure
from lit_pure.report.placement import PlacedRun, mark_other_sizes, place_runs, plain_name
from lit_pure.report.published import ASIDES, Figure, PublishedTable, load
from lit_pure.report.table import Cell, Table, TableRow, mark_best, transpose
from lit_pure.runs.folder import Run

COSTS = {
    "Inference Time (s)": "seconds",
    "Time (s)": "seconds",
    "Total Param (M)": "parameters",
    "Param (M)": "parameters",
}
"""Columns of tables of time and size -> our figure."""
INTERVAL = ("  95 % from", "  95 % to")
"""Labels of the rows with the ends of an interval."""
COUNT = "  n"
"""Label of the row with the number of pictures."""
Parts = tuple[tuple[str, ...], Mapping[str, str], list[list[TableRow]]]
"""Heads, columns and blocks of a table."""


def assemble(layout: Layout, chosen: Sequence[Run], *, only: str = "", intervals: bool = False) -> Table:
    """The published table with rows of our runs.

    Args:
        layout: of `LAYOUTS`.
        chosen: runs to show (default: the newest finished run of each experiment that the layout names).
        only: a test set: our figures on other sets are left out, and the paper's as well where it has this set.
        intervals: adds rows with the ends of our 95 % intervals, and with the numbers of pictures.

    Raises:
        ConfigError: a run does not belong to the layout, or neither the paper nor a run has the set.
        ValueError: a file is damaged.
    """
    paper = load(layout.paper)
    published = paper.table(layout.table)
    placed = place_runs(layout, chosen, spread=intervals or published.aside == "variance")
    if only:
        placed, published = _restrict_to_set(placed, published, only)
    if layout.ours != "complexity":
        placed = mark_other_sizes(placed, _sides(layout, published))
    made = _Assembly(layout, published, placed, keys(layout, published), intervals)
    heads, columns, blocks = {"sets": made.by_sets, "across": made.across}.get(layout.shape, made.by_rows)()
    said = footnotes.notes(layout, published, placed, made.keys, only=only, intervals=intervals, searched=not chosen)
    title = f"{paper.name}, {published.place} (arXiv {paper.arxiv}): {published.title}"
    aside = (published.aside, ASIDES[published.aside])
    table = Table(title, heads, columns, mark_best(blocks, list(columns.values())), tuple(said), aside)
    return transpose(table) if layout.shape == "turned" else table


def keys(layout: Layout, published: PublishedTable) -> dict[str, str]:
    """Our figure for each column: the metric in the layout's protocol, else the metric with that label."""
    if layout.ours == "complexity":
        return {label: COSTS[label] for label in published.columns}
    known = {info.label: key for key, info in METRICS.items()} | protocol(layout.protocol).metrics
    return {label: known.get(label, "") for label in published.columns}


@dataclass(frozen=True)
class _Assembly:
    layout: Layout
    published: PublishedTable
    placed: Sequence[PlacedRun]
    keys: Mapping[str, str]
    intervals: bool

    def by_sets(self) -> Parts:
        """A block per test set: the paper's sets, with our runs on them, then our other sets."""
        blocks = {
            plain_name(name): [
                TableRow((name, row), _published_cells(cells), plain_name(name)) for row, cells in rows.items()
            ]
            for name, rows in self.published.sets.items()
        }
        elsewhere = _sets_elsewhere(self.layout) - blocks.keys()
        for one in self.placed:
            for result in one.results:
                if plain_name(result.on) not in elsewhere:
                    head = TableRow((result.title, one.name), (), (group := plain_name(result.title)))
                    blocks.setdefault(group, []).extend(self._ours(head, 1, self._of(result.figures)))
        return (self.published.parts, self.published.rows), self.published.columns, list(blocks.values())

    def by_rows(self) -> Parts:
        """Our runs below the published row that they correspond to; all further runs come last."""
        blocks: list[list[TableRow]] = []
        for name, rows in self.published.sets.items():
            block: list[TableRow] = []
            for row, cells in rows.items():
                block += [TableRow((row, name), _published_cells(cells), plain_name(name)), *self._below(row)]
            blocks.append(block)
        heads = (self.published.rows, self.published.parts)
        return heads, self.published.columns, [block for block in (*blocks, self._below("")) if block]

    def _below(self, row: str) -> list[TableRow]:
        """Our rows that belong to a published row."""
        found: list[TableRow] = []
        for one in self.placed:
            for result in one.results if one.row == row else ():
                head = TableRow((one.name, result.title), (), plain_name(result.title), below=True)
                found += self._ours(head, 0, self._of(result.figures))
        return found

    def across(self) -> Parts:
        """A column per test set, first the paper's, then ours, for tables of a single metric."""
        (key, better) = next(zip(self.keys.values(), self.published.columns.values(), strict=True))
        columns = {plain_name(name): name for name in self.published.sets}
        for result in (result for one in self.placed for result in one.results):
            columns.setdefault(plain_name(result.title), result.title)

        def below(row: str) -> list[TableRow]:
            found: list[TableRow] = []
            for one in self.placed:
                figures = {plain_name(result.title): result.figures.get(key) for result in one.results}
                if one.row == row and figures:
                    head = TableRow((one.name,), (), "", below=True)
                    found += self._ours(head, 0, [(figures.get(group), 0) for group in columns])
            return found

        block: list[TableRow] = []
        for row in next(iter(self.published.sets.values())):
            printed = {plain_name(name): cells[row][0] for name, cells in self.published.sets.items()}
            block += [TableRow((row,), _published_cells([printed.get(group) for group in columns]), ""), *below(row)]
        return (self.published.rows,), dict.fromkeys(columns.values(), better), [[*block, *below("")]]

    def _of(self, figures: Mapping[str, MeasuredFigure]) -> list[tuple[MeasuredFigure | None, int]]:
        """The figure of a run for each column, with the column's index."""
        return [(figures.get(key), index) for index, key in enumerate(self.keys.values())]

    def _ours(self, line: TableRow, name: int, figures: Sequence[tuple[MeasuredFigure | None, int]]) -> list[TableRow]:
        """The row `line` with figures, then rows of its intervals, whose label replaces item `name` of its head."""
        found = [replace(line, cells=tuple(self._cell(figure, column) for figure, column in figures))]
        for end, title in enumerate(INTERVAL if self.intervals else ()):
            values = [(figure.interval[end] if figure and figure.interval else None, at) for figure, at in figures]
            if any(value is not None for value, _ in values):
                cells = (self._cell(None if value is None else MeasuredFigure(value), at) for value, at in values)
                head = (*line.head[:name], title, *line.head[name + 1 :])
                found.append(replace(line, head=head, cells=tuple(cells), group=None))
        counts = [figure.n if figure and self.intervals else None for figure, _ in figures]
        if any(counts):
            head = (*line.head[:name], COUNT, *line.head[name + 1 :])
            cells = (Cell(str(count)) if count else Cell() for count in counts)
            found.append(replace(line, head=head, cells=tuple(cells), group=None))
        return found

    def _cell(self, figure: MeasuredFigure | None, column: int) -> Cell:
        if figure is None or not math.isfinite(figure.mean):
            return Cell()
        if self.layout.ours == "complexity":  # milliseconds to minutes, millions to billions
            return Cell(f"{figure.mean:.0f}" if figure.mean >= 100 else f"{figure.mean:.3g}")
        digits, aside = self.published.decimals(column)
        varied = self.published.aside == "variance" and aside and figure.variance is not None
        second = f"{figure.variance:.{aside}f}" if varied else ""
        return Cell(f"{figure.mean:.{digits}f}", second)


def _published_cells(cells: Sequence[Figure | None]) -> tuple[Cell, ...]:
    return tuple(Cell(figure.text, figure.aside) if figure else Cell() for figure in cells)


def _restrict_to_set(
    placed: Sequence[PlacedRun], published: PublishedTable, only: str
) -> tuple[list[PlacedRun], PublishedTable]:
    """Our figures on one test set, and the published ones on it, or all published ones where the paper lacks it."""
    kept = [
        replace(one, results=tuple(result for result in one.results if plain_name(result.on) == plain_name(only)))
        for one in placed
    ]
    found = {name: rows for name, rows in published.sets.items() if plain_name(name) == plain_name(only)}
    if not found and not any(one.results for one in kept):
        known = sorted({*published.sets, *(result.on for one in placed for result in one.results)})
        raise ConfigError(f"--test-set {only}: neither the paper nor a run has it; there are {', '.join(known)}")
    sets = found or published.sets
    sides = {name: side for name, side in published.sides.items() if name in sets}
    return kept, replace(published, sets=sets, sides=sides)


def _sides(layout: Layout, published: PublishedTable) -> dict[str, int | None]:
    """The test sets of all tables that may show our figures, with the sides of their pictures [px]."""
    return {name: table.sides.get(name) for table in (*_tables_alike(layout), published) for name in table.sets}


def _sets_elsewhere(layout: Layout) -> set[str]:
    """Test sets of other tables of the same form in the same paper: our figures on them are shown there."""
    return {plain_name(name) for table in _tables_alike(layout) for name in table.sets}


def _tables_alike(layout: Layout) -> list[PublishedTable]:
    """The tables of the same form in the same paper."""
    alike = (layout.paper, "sets", layout.ours)
    paper = load(layout.paper)
    return [paper.table(one.table) for one in LAYOUTS.values() if (one.paper, one.shape, one.ours) == alike]
