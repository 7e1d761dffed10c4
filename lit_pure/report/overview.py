"""Tables of finished runs, from their summaries.

Knows run folders and pandas. Imports no torch, so that it starts quickly.
"""

from collections.abc import Sequence

import pandas as pd

from lit_pure.baselines.table import BASELINES
from lit_pure.report.measured import BETWEEN, baseline_of, figures_of, method_of
from lit_pure.report.table import NOTHING, Cell, Table, TableRow
from lit_pure.runs.folder import Run

LEADING = ("steps", "train/loss_first", "train/loss_last", "tokens_per_second")
"""Columns of the table of runs before the metrics."""


def comparison(run: Run) -> pd.DataFrame:
    """One row per test set and method (baselines first), and one column per metric, for a run."""
    rows: dict[tuple[str, str], dict[str, float]] = {}
    own = method_of(run)
    for (test_set, metric), value in figures_of(run).items():
        baseline = baseline_of(metric)
        rows.setdefault((test_set, baseline or own), {})[metric.removeprefix(f"{baseline}{BETWEEN}")] = value
    order = [*BASELINES, own]
    ordered = dict(sorted(rows.items(), key=lambda item: (item[0][0], order.index(item[0][1]))))
    table = pd.DataFrame.from_dict(ordered, orient="index")
    table.index = pd.MultiIndex.from_tuples(ordered, names=["test set", "method"])
    return table


def readable_runs(runs: Sequence[Run]) -> tuple[list[Run], list[str]]:
    """The runs whose summaries can be read, and an error for each other run."""
    kept: list[Run] = []
    wrong: list[str] = []
    for run in runs:
        try:
            figures_of(run)
            kept.append(run)
        except ValueError as error:
            wrong.append(str(error))
    return kept, wrong


def overview(runs: Sequence[Run]) -> pd.DataFrame:
    """One row per finished run; figures of baselines, lists and names are left out."""
    rows = {run.label: _figures(run) for run in runs}
    table = pd.DataFrame.from_dict(rows, orient="index")
    table.index.name = "run"
    leading = [name for name in LEADING if name in table]
    return table[[*leading, *sorted(set(table) - set(leading))]]


def text(table: pd.DataFrame) -> str:
    """A table for the terminal; missing figures are empty."""
    formatted = table.map(_number)
    return str(formatted.to_string())


def to_table(frame: pd.DataFrame) -> Table:
    """The same table for formats other than the terminal; no figure is marked, since test sets differ."""
    rows = [
        TableRow((str(name),), tuple(Cell(_number(value) or NOTHING) for value in figures))
        for name, figures in zip(frame.index, frame.to_numpy().tolist(), strict=True)
    ]
    title = "Finished runs"
    return Table(title, (str(frame.index.name),), dict.fromkeys(map(str, frame.columns), ""), (tuple(rows),))


def _figures(run: Run) -> dict[str, float]:
    summary = run.summary()
    leading = {key: summary[key] for key in LEADING if key in summary}
    tests = figures_of(run).items()
    return leading | {f"test/{on}/{key}": value for (on, key), value in tests if not baseline_of(key)}


def _number(value: object) -> str:
    if not isinstance(value, (int, float)) or pd.isna(value):
        return ""
    return f"{value:.0f}" if abs(value) >= 1000 or float(value).is_integer() else f"{value:.4g}"
