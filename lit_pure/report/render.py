"""A `Table` as text: for a terminal, as Markdown, as LaTeX (booktabs), as CSV.

Knows characters and escapes. Knows nothing of where figures come from. CSV has bare figures, empty cells for missing
ones, and no notes.
"""

import csv
import io
import textwrap
from collections.abc import Callable, Sequence
from itertools import chain
from typing import Literal, get_args

from lit_pure.report.table import NOTHING, Cell, Table, TableRow

Format = Literal["terminal", "md", "latex", "csv"]
FORMATS: tuple[Format, ...] = get_args(Format)
LEGEND = "Best is bold and second underlined, each within a test set."
LEAST_WIDTH = 100
"""Notes are wrapped at the width of the table, or at this one where the table is narrower [characters]."""
_ANSI = {"best": "\033[1m{}\033[0m", "second": "\033[4m{}\033[0m", "": "{}"}
_MARKDOWN = {"best": "**{}**", "second": "<u>{}</u>", "": "{}"}
_LATEX = {"best": r"\textbf{{{}}}", "second": r"\underline{{{}}}", "": "{}"}
_PLAIN = {"best": "{}", "second": "{}", "": "{}"}
_ARROWS = {"higher": "↑", "lower": "↓", "": ""}
_TEX_ARROWS = {"higher": r" $\uparrow$", "lower": r" $\downarrow$", "": ""}
_TEX_SPECIAL = {character: f"\\{character}" for character in "&%$#_{}"} | {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
}
"""Characters with a special meaning in LaTeX."""
_ONE_COLUMN = 6
"""With more columns of figures, a LaTeX table uses small print and the full page width."""


def render(table: Table, form: Format, *, ansi: bool = False) -> str:
    """The table as text that ends with a newline; `ansi` marks figures on a terminal."""
    if form == "terminal":
        return _terminal(table, _ANSI if ansi else _PLAIN)
    return {"md": _markdown, "latex": _latex, "csv": _csv}[form](table)


def notes(table: Table, *, marked: bool) -> list[str]:
    """The notes below the table; with the legend of the marks only where figures are `marked`."""
    return [*([LEGEND] if marked and table.best else []), *table.notes]


def _terminal(table: Table, marks: dict[str, str]) -> str:
    labels = [f"{label}{_ARROWS[better]}" for label, better in table.columns.items()]
    bare = [[[table.format_cell(cell) for cell in row.cells] for row in block] for block in table.blocks]
    heads = [_heads(block, "  ", blank=True) for block in table.blocks]
    lefts, rights = zip(table.heads, *chain(*heads), strict=True), zip(labels, *chain(*bare), strict=True)
    left, right = ([max(map(len, column)) for column in part] for part in (lefts, rights))
    width = sum(left) + sum(right) + 2 * (len(left) + len(right) - 1)

    def line(head: Sequence[str], texts: Sequence[str], cells: Sequence[Cell]) -> str:
        begin = [f"{text:<{size}}" for text, size in zip(head, left, strict=True)]
        # Escapes have no width on the screen, so padding is added outside them.
        end = [
            " " * (size - len(text)) + marks[cell.mark].format(text)
            for text, size, cell in zip(texts, right, cells, strict=True)
        ]
        return "  ".join([*begin, *end]).rstrip()

    lines = [table.title, "", line(table.heads, labels, [Cell()] * len(labels))]
    for block, head, texts in zip(table.blocks, heads, bare, strict=True):
        lines += ["─" * width, *(line(*parts) for parts in zip(head, texts, (row.cells for row in block), strict=True))]
    below = notes(table, marked=marks is not _PLAIN)
    lines += ["", *(_wrapped(note, max(width, LEAST_WIDTH)) for note in below)] if below else []
    return "\n".join([*lines, ""])


def _wrapped(note: str, width: int) -> str:
    return textwrap.fill(note, width, subsequent_indent="  ", break_on_hyphens=False, break_long_words=False)


def _markdown(table: Table) -> str:
    def line(parts: Sequence[str]) -> str:
        return f"| {' | '.join(parts)} |"

    labels = [f"{label}{_ARROWS[better]}" for label, better in table.columns.items()]
    lines = [f"**{table.title}**", "", line([_piped(text) for text in (*table.heads, *labels)])]
    lines.append(line(["---"] * len(table.heads) + ["---:"] * len(labels)))
    for block in table.blocks:
        for row, head in zip(block, _heads(block, "", _piped), strict=True):
            lines.append(line([*head, *(_MARKDOWN[cell.mark].format(table.format_cell(cell)) for cell in row.cells)]))
    below = notes(table, marked=True)
    return "\n".join([*lines, *([""] if below else []), *(f"- {note}" for note in below), ""])


def _piped(text: str) -> str:
    return text.strip().replace("|", r"\|")


def _latex(table: Table) -> str:
    def line(parts: Sequence[str]) -> str:
        return " & ".join(parts) + r" \\"

    def figure(cell: Cell) -> str:
        text = "--" if cell.text == NOTHING else table.format_cell(cell).replace("-", "$-$")
        return _LATEX[cell.mark].format(text)

    labels = [f"{_tex(label)}{_TEX_ARROWS[better]}" for label, better in table.columns.items()]
    wide = len(labels) > _ONE_COLUMN
    kind = "table*" if wide else "table"
    lines = ["% in the preamble: \\usepackage{booktabs}", rf"\begin{{{kind}}}", r"\centering"]
    lines += [r"\scriptsize", r"\setlength{\tabcolsep}{2.5pt}"] if wide else [r"\small"]
    lines += [rf"\caption{{{_tex(table.title)}}}"]
    lines += [rf"\begin{{tabular}}{{{'l' * len(table.heads)}{'r' * len(labels)}}}", r"\toprule"]
    lines += [line([*map(_tex, table.heads), *labels])]
    for block in table.blocks:
        heads = _heads(block, r"\quad ", _tex, blank=True)
        lines += [
            r"\midrule",
            *(line([*head, *map(figure, row.cells)]) for head, row in zip(heads, block, strict=True)),
        ]
    lines += [r"\bottomrule", r"\end{tabular}"]
    if below := notes(table, marked=True):
        lines += [r"\par\smallskip", r"\begin{minipage}{\linewidth}", r"\scriptsize"]
        lines += [*(_tex(note) + r"\par" for note in below), r"\end{minipage}"]
    return "\n".join([*lines, rf"\end{{{kind}}}", ""])


def _tex(text: str) -> str:
    return "".join(_TEX_SPECIAL.get(character, character) for character in text)


def _csv(table: Table) -> str:
    rows = [row for block in table.blocks for row in block]
    second = table.aside[0]  # second figures have their own column
    doubled = [any(row.cells[at].aside for row in rows) for at in range(len(table.columns))]
    labels = [[label, f"{label} {second}"][: 1 + two] for label, two in zip(table.columns, doubled, strict=True)]
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([*table.heads, *chain(*labels)])
    for row in rows:
        cells = ([cell.text, cell.aside][: 1 + two] for cell, two in zip(row.cells, doubled, strict=True))
        writer.writerow([*map(str.strip, row.head), *("" if text == NOTHING else text for text in chain(*cells))])
    return out.getvalue()


def _heads(
    block: Sequence[TableRow], indent: str, escape: Callable[[str], str] = str, *, blank: bool = False
) -> list[list[str]]:
    """The heads of the rows of a block; `blank` leaves out a first item that repeats the row above."""
    found: list[list[str]] = []
    for above, row in zip((None, *block), block, strict=False):
        first, *others = map(escape, row.head)
        if blank and others and above is not None and above.head[0] == row.head[0]:
            first = ""
        found.append([f"{indent if row.below and first else ''}{first}", *others])
    return found
