"""The curves of a resumed run, read from what an earlier launch logged.

Knows `metrics.csv` as Lightning's CSVLogger writes it: one line a step, with a column `step`. Knows nothing of what the
columns mean, and imports no torch.
"""

import csv
from collections.abc import Iterator
from pathlib import Path

from lit_pure.files.reading import refusing

CURVES = "metrics.csv"
"""Name of the file in a run folder."""
DAMAGED = f"{CURVES}.damaged"
"""What becomes of one that cannot be read: a run resumes without its curves, too."""
STEP = "step"
LONGEST = 18
"""Digits of a step; more are a damaged line."""


def read_curves(path: Path, step: int) -> tuple[list[str], list[dict[str, str]]]:
    """The columns of the curves, and their rows before a step; rows that are damaged or cut short are left out.

    Raises:
        Damaged: the file cannot be read, or its first line is not that of curves.
    """
    with refusing(path, f"it is kept as {DAMAGED}, and the curves begin anew"):
        # A full disk or a power cut leaves half a line, or bytes that are no text; no cell of ours has a line break.
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
        if not lines:  # killed while the logger wrote it anew
            return [STEP], []
        names = next(_cells(lines[:1]), [])
        if STEP not in names or len(set(names)) < len(names):
            raise ValueError(f"its first line names no columns with {STEP!r} among them")
        rows = [dict(zip(names, cells, strict=True)) for cells in _cells(lines[1:]) if len(cells) == len(names)]
        return names, [row for row in rows if _is_before(row, step)]


def _cells(lines: list[str]) -> Iterator[list[str]]:
    """Line by line: a stray quote in one takes no other with it."""
    for line in lines:
        try:
            yield from csv.reader([line], strict=True)
        except csv.Error:
            continue


def _is_before(row: dict[str, str], step: int) -> bool:
    own, *cells = row[STEP], *(cell for name, cell in row.items() if name != STEP)
    counted = own.isascii() and own.isdigit() and len(own) <= LONGEST
    return counted and int(own) < step and all(map(_is_number, filter(None, cells)))


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True
