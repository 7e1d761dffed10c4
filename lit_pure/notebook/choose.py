"""Which runs a notebook looks at, and what they are.

Knows run folders and one environment variable. Knows nothing of figures; imports no torch.
"""

import os
from collections.abc import Sequence

import pandas as pd

from lit_pure.config.compose import changes
from lit_pure.families.table import family_of, require_restoring
from lit_pure.runs import folder as runs
from lit_pure.runs.folder import MissingRun, Run

VARIABLE = "LIT_PURE_RUNS"
"""Names of runs, separated by commas, that the notebooks take where their cells name none."""
ABSENT = "-"
"""In place of a setting that a run has not."""


def chosen(names: Sequence[str] = ()) -> list[Run]:
    """The runs named, else those of the environment variable, else all finished ones, the newest last; each once.

    Args:
        names: for example demo (its newest finished run) or demo/version_0.

    Raises:
        MissingRun: a run is not there, or none at all; the message says which command makes one.
    """
    wanted = list(names) or _from_environment()
    found = [runs.require(name) for name in wanted] or _oldest_first()
    if not found:
        raise MissingRun(f"there are no finished runs below {runs.ROOT}/; make one with: make exp NAME=demo")
    return list({run.folder: run for run in found}.values())


def chosen_restorer(name: str = "") -> Run:
    """The run named, else the first of the environment variable that restores pictures, else the newest that does.

    Raises:
        MissingRun: there is none; the message says which command makes one.
        ValueError: the run named restores nothing.
    """
    if name:
        run = runs.require(name)
        require_restoring(run)
        return run
    listed = [runs.require(item) for item in _from_environment()]
    for run in listed or _oldest_first()[::-1]:
        if family_of(run).restores:
            return run
    raise MissingRun("there is no finished run that restores pictures; make one with: make exp NAME=demo")


def overview(chosen_runs: Sequence[Run]) -> pd.DataFrame:
    """One row per run: what it is, how long it learned, and whether its pictures were scored one by one."""
    rows = {}
    for run in chosen_runs:
        summary, origin = run.summary(), run.provenance()
        rows[run.label] = {
            "family": summary.get("family", ABSENT),
            "base": summary.get("base") or ABSENT,
            "steps": summary.get("steps", 0),
            "trained [min]": round(float(summary.get("train_seconds", 0)) / 60, 1),
            "parameters [million]": round(float(summary.get("parameters", 0)) / 1e6, 2),
            "seed": origin.get("seed", ABSENT),
            "started": str(origin.get("started", ABSENT))[:16].replace("T", " "),
            "scores.csv": "yes" if (run.folder / "scores.csv").is_file() else "no",
        }
    table = pd.DataFrame.from_dict(rows, orient="index")
    table.index.name = "run"
    return table


def settings(chosen_runs: Sequence[Run]) -> pd.DataFrame:
    """The settings in which runs differ: one row per dotted key, one column per run.

    A key that only runs of another family have does not count as a difference between those that lack it.
    """
    first, *others = chosen_runs
    start = first.experiment()
    cells: dict[str, dict[str, str]] = {}
    for other in others:
        for key, (before, after) in changes(start, other.experiment()).items():
            cells.setdefault(key, {})[first.label] = str(before)
            cells[key][other.label] = str(after)
    labels = [run.label for run in chosen_runs]
    # A run that is not mentioned has what the first one has.
    rows = {key: [row.get(label, row[first.label]) for label in labels] for key, row in sorted(cells.items())}
    told = {key: [{"None": ABSENT, "": "(empty)"}.get(cell, cell) for cell in row] for key, row in rows.items()}
    differing = {key: row for key, row in told.items() if len({cell for cell in row if cell != ABSENT}) > 1}
    table = pd.DataFrame.from_dict(differing, orient="index", columns=labels)
    table.index.name = "setting"
    return table


def _oldest_first() -> list[Run]:
    """All finished runs in the order in which they were started."""
    return sorted(runs.finished(), key=lambda run: str(run.provenance().get("started", "")))


def _from_environment() -> list[str]:
    return [name.strip() for name in os.environ.get(VARIABLE, "").split(",") if name.strip()]
