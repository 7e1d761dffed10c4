"""Selects the runs that a notebook looks at, and describes them.

Knows run folders and one environment variable. Knows nothing of figures; imports no torch.
"""

import os
from collections.abc import Sequence

import pandas as pd

from lit_pure.config.project import command_to_run
from lit_pure.families.table import family_of, require_restoring
from lit_pure.report.settings import ABSENT
from lit_pure.report.settings import differing_settings as differing_settings  # a cell of compare_runs calls it here
from lit_pure.runs import folder as runs
from lit_pure.runs.folder import MissingRun, Run

VARIABLE = "LIT_PURE_RUNS"
"""Names of runs, separated by commas, that the notebooks take if their cells name none."""


def select_runs(names: Sequence[str] = ()) -> list[Run]:
    """The named runs, else those of the environment variable, else all finished runs, the newest last; each once.

    Args:
        names: for example demo (its newest finished run) or demo/version_0.

    Raises:
        MissingRun: a run is missing, or there is none at all; the message gives the command that makes it.
    """
    wanted = list(names) or _from_environment()
    found = [runs.require(name) for name in wanted] or _oldest_first()
    if not found:
        raise MissingRun(f"there is no finished run below {runs.ROOT}/; make one with: {command_to_run('demo')}")
    return list({run.folder: run for run in found}.values())


def select_restorer(name: str = "") -> Run:
    """The named run, else the first of the environment variable that restores pictures, else the newest that does.

    Raises:
        MissingRun: there is none; the message gives the command that makes one.
        ValueError: the named run restores nothing.
    """
    if name:
        run = runs.require(name)
        require_restoring(run)
        return run
    listed = [runs.require(item) for item in _from_environment()]
    for run in listed or _oldest_first()[::-1]:
        if family_of(run).restores:
            return run
    raise MissingRun(f"there is no finished run that restores pictures; make one with: {command_to_run('demo')}")


def overview(chosen_runs: Sequence[Run]) -> pd.DataFrame:
    """One row per run: what it is, how long it was trained, and whether it has scores of single pictures."""
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


def _oldest_first() -> list[Run]:
    """All finished runs, in the order of their start."""
    return sorted(runs.finished(), key=lambda run: str(run.provenance().get("started", "")))


def _from_environment() -> list[str]:
    return [name.strip() for name in os.environ.get(VARIABLE, "").split(",") if name.strip()]
