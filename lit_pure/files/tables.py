"""CSV that comes back as it was, whatever is in a cell. Knows nothing of what the cells mean."""

import csv
import io
from collections.abc import Iterable, Sequence


def csv_text(rows: Iterable[Sequence[object]]) -> str:
    """Rows as CSV with ends of lines as on Unix; cells are in quotes where they must be."""
    text = io.StringIO()
    plain = csv.writer(text, lineterminator="\n")
    # Python writes a carriage return without quotes, and then reads it as the end of a line.
    quoted = csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_ALL)
    for row in rows:
        (quoted if any("\r" in str(cell) for cell in row) else plain).writerow(row)
    return text.getvalue()
