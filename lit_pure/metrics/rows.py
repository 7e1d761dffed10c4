"""The file of per-image scores of a run or an evaluation.

Knows `scores.csv`: columns test_set, method, image, then one per metric; an empty cell is a missing score. Knows
nothing of how a score is computed or what it means. Imports pandas only to read.
"""

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lit_pure.files.atomic import write_whole
from lit_pure.files.names import nfc
from lit_pure.files.tables import csv_text

if TYPE_CHECKING:
    import pandas as pd

FILE = "scores.csv"
"""Name of the file in a run folder."""
KEYS = ("test_set", "method", "image")
"""The columns that identify the picture of a row."""


@dataclass(frozen=True)
class ScoreRow:
    """The scores of one picture of one method."""

    test_set: str
    method: str
    """restored, reconstructed, bicubic, or another name."""
    image: str
    """Name of the picture, without extension."""
    scores: Mapping[str, float]
    """Scores by metric key, in the unit of the metric; missing scores are left out."""


def write_rows(path: Path, rows: Iterable[ScoreRow], metrics: Sequence[str]) -> None:
    """Write rows in the given order, each score with all digits; the file is complete or absent.

    Args:
        path: of a .csv in an existing folder.
        rows: the scores.
        metrics: metric keys, the columns after `KEYS`.

    Raises:
        OSError: it cannot be written.
    """
    lines = [[*KEYS, *metrics]]
    for row in rows:
        cells = [repr(float(row.scores[key])) if key in row.scores else "" for key in metrics]
        lines.append([row.test_set, row.method, row.image, *cells])
    write_whole(path, csv_text(lines), errors="surrogateescape")  # keeps names that are not UTF-8


def read_rows(path: Path) -> "pd.DataFrame":
    """Read a file of `write_rows`: `KEYS` as text, one float column per metric, NaN for a missing score.

    Names of images are in NFC, so that tables of different machines match.

    Raises:
        ValueError: the file is missing, or not such a file.
    """
    import pandas as pd

    try:
        with path.open(encoding="utf-8", errors="surrogateescape", newline="") as file:
            header, *lines = [*csv.reader(file, strict=True)] or [[]]
        if absent := [name for name in KEYS if name not in header]:
            raise ValueError(f"column {absent[0]} is missing")
        if cut := [number for number, line in enumerate(lines, 2) if len(line) != len(header)]:
            raise ValueError(f"line {cut[0]} has {len(lines[cut[0] - 2])} cells for {len(header)} columns")
        place = header.index("image")
        lines = [[*line[:place], nfc(line[place]), *line[place + 1 :]] for line in lines]
        # Names stay plain text; pandas would otherwise read some as numbers or missing values, or refuse them.
        table = pd.DataFrame(lines, columns=header, dtype=object)
        scores = {name: [float(cell or "nan") for cell in table[name]] for name in header if name not in KEYS}
    except (OSError, ValueError, csv.Error) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"{path} cannot be read as a file of scores ({reason}); write it again") from error
    return table.assign(**{name: pd.Series(cells, dtype=float) for name, cells in scores.items()})
