"""The per-image file of a run or an evaluation: which picture of which method scored what.

Knows `scores.csv`: columns test_set, method, image, then one per metric; an empty cell is no score. Knows nothing of
how a score is made or what it means. Imports pandas only to read.
"""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lit_pure.files.atomic import write_whole

if TYPE_CHECKING:
    import pandas as pd

FILE = "scores.csv"
"""What the file is called in a run folder."""
KEYS = ("test_set", "method", "image")
"""The columns that say which picture a row is about."""


@dataclass(frozen=True)
class ScoreRow:
    """What one picture of one method scored."""

    test_set: str
    method: str
    """restored, reconstructed, bicubic, or what the method is called."""
    image: str
    """Name of the picture, without extension."""
    scores: Mapping[str, float]
    """Metric key to score, in the unit of the metric; what is absent has no score."""


def write_rows(path: Path, rows: Iterable[ScoreRow], metrics: Sequence[str]) -> None:
    """Write rows in the order given, each score with all its digits; the file is whole or absent.

    Args:
        path: of a .csv in an existing folder.
        rows: what was scored.
        metrics: metric keys, the columns after `KEYS`.

    Raises:
        OSError: it cannot be written.
    """
    lines = io.StringIO()
    writer = csv.writer(lines, lineterminator="\n")
    writer.writerow([*KEYS, *metrics])
    for row in rows:
        cells = [repr(float(row.scores[key])) if key in row.scores else "" for key in metrics]
        writer.writerow([row.test_set, row.method, row.image, *cells])
    write_whole(path, lines.getvalue(), errors="surrogateescape")  # names that are no UTF-8 come back as they are


def read_rows(path: Path) -> "pd.DataFrame":
    """A file that `write_rows` wrote: `KEYS` as text, one float column per metric, NaN where there is no score.

    Raises:
        ValueError: it is not there, or is no such file.
    """
    import pandas as pd

    try:
        with path.open(encoding="utf-8", errors="surrogateescape", newline="") as file:
            header, *lines = [*csv.reader(file, strict=True)] or [[]]
        if absent := [name for name in KEYS if name not in header]:
            raise ValueError(f"there is no column {absent[0]}")
        # Names are plain texts, which pandas would otherwise take for numbers, for nothing, or refuse.
        table = pd.DataFrame(lines, columns=header, dtype=object)
        scores = {name: [float(cell or "nan") for cell in table[name]] for name in header if name not in KEYS}
    except (OSError, ValueError, csv.Error) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"{path} cannot be read as a file of scores ({reason}); make it again") from error
    return table.assign(**{name: pd.Series(cells, dtype=float) for name, cells in scores.items()})
