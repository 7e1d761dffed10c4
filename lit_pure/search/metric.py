"""The value of a trial's metric, from the files of its run. Imports no torch."""

import math

from lit_pure.files.reading import Damaged
from lit_pure.runs.curves import CURVES, LONGEST, read_curves
from lit_pure.runs.folder import Run


def value_of(run: Run, metric: str) -> float:
    """A figure of a finished run's summary, else the last value in its curves.

    Raises:
        ValueError: the run has no such metric, or it is not finite; the message names those that it has.
    """
    summary = run.summary()
    found = summary.get(metric)
    known = [key for key, value in summary.items() if isinstance(value, float) and "/" in key]
    if found is None and (path := run.folder / CURVES).is_file():
        try:
            names, rows = read_curves(path, 10**LONGEST)
        except Damaged as damaged:
            raise ValueError(str(damaged)) from damaged
        found = next((float(row[metric]) for row in reversed(rows) if row.get(metric)), None)
        known += [name for name in names if "/" in name]
    if not isinstance(found, int | float) or isinstance(found, bool):
        raise ValueError(f"{run.label} has no {metric}; it has {', '.join(known) or 'no metrics'}")
    if not math.isfinite(found):
        raise ValueError(f"{metric} is {found}")
    return float(found)
