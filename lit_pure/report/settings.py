"""What differs between the settings of runs. Knows run folders; imports no torch."""

from collections import Counter
from collections.abc import Iterable, Sequence

import pandas as pd

from lit_pure.config.compose import changes
from lit_pure.runs.folder import Run

ABSENT = "-"
"""In place of a setting that a run does not have."""
_SHOWN = {"None": ABSENT, "": "(empty)"}


def differing_settings(runs: Sequence[Run]) -> pd.DataFrame:
    """The settings that differ between runs: one row per dotted key, one column per run.

    A key that only runs of another family have does not count as a difference. Raises ConfigError where a run's
    configuration cannot be read.
    """
    first, *rest = runs
    reference = first.experiment()
    cells: dict[str, dict[str, str]] = {}
    for other in rest:
        for key, (before, after) in changes(reference, other.experiment()).items():
            cells.setdefault(key, {})[first.label] = str(before)
            cells[key][other.label] = str(after)
    labels = [run.label for run in runs]
    # Runs without an entry have the value of the first run.
    rows = {key: [row.get(label, row[first.label]) for label in labels] for key, row in sorted(cells.items())}
    readable = {key: [_SHOWN.get(cell, cell) for cell in row] for key, row in rows.items()}
    differing = {key: row for key, row in readable.items() if len({cell for cell in row if cell != ABSENT}) > 1}
    table = pd.DataFrame.from_dict(differing, orient="index", columns=labels)
    table.index.name = "setting"
    return table


def short_names(keys: Iterable[str]) -> list[str]:
    """Dotted keys without their sections, where that leaves them different."""
    whole = list(keys)
    last = [key.rpartition(".")[2] for key in whole]
    often = Counter(last)
    return [key if often[short] > 1 else short for key, short in zip(whole, last, strict=True)]
