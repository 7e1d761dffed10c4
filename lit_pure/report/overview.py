"""Tables of finished runs, from their summaries.

Knows run folders and pandas. Imports no torch, so that it starts quickly.
"""

import math
from collections.abc import Sequence

import pandas as pd

from lit_pure.baselines.table import BASELINES
from lit_pure.metrics.table import METRICS
from lit_pure.report.measured import BETWEEN, baseline_of, figures_of, method_of, picture_count
from lit_pure.report.table import NOTHING, Cell, Table, TableRow
from lit_pure.runs.folder import Run

LEADING = ("steps", "train/loss_first", "train/loss_last", "tokens_per_second")
"""Columns of the table of runs before the metrics."""
COUNT = "n"
"""Column with the number of pictures."""
DIGITS = 4
"""Digits of the largest figure in a column without a number of decimals of its own."""
_ARROWS = {"higher": " ↑", "lower": " ↓", "": ""}


def comparison(run: Run) -> pd.DataFrame:
    """One row per test set and method (baselines first), and one column per metric, for a run; then the pictures."""
    rows: dict[tuple[str, str], dict[str, float]] = {}
    own = method_of(run)
    for (test_set, metric), value in figures_of(run).items():
        baseline = baseline_of(metric)
        rows.setdefault((test_set, baseline or own), {})[metric.removeprefix(f"{baseline}{BETWEEN}")] = value
    order = [*BASELINES, own]
    ordered = dict(sorted(rows.items(), key=lambda item: (item[0][0], order.index(item[0][1]))))
    table = pd.DataFrame.from_dict(ordered, orient="index")
    table.index = pd.MultiIndex.from_tuples(ordered, names=["test set", "method"])
    counts = {on: picture_count(run, on) for on, _ in ordered}
    if all(counts.values()):
        table[COUNT] = [counts[on] for on, _ in ordered]
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


def trained(runs: Sequence[Run]) -> Table:
    """One row per finished run: how long it was trained, with which loss, how fast."""
    frame = overview(runs)
    return to_table(frame[[name for name in LEADING if name in frame]])


def text(table: pd.DataFrame) -> str:
    """A table for the terminal; missing figures are empty, and an arrow says where better ones are."""
    return str(_formatted(table).rename(columns=lambda name: f"{name}{_ARROWS[_better(name)]}").to_string())


def to_table(frame: pd.DataFrame) -> Table:
    """The same table for formats other than the terminal; no figure is marked, since test sets differ."""
    rows = [
        TableRow((str(name),), tuple(Cell(figure or NOTHING) for figure in figures))
        for name, figures in zip(frame.index, _formatted(frame).to_numpy().tolist(), strict=True)
    ]
    title = "Finished runs"
    return Table(title, (str(frame.index.name),), {str(name): _better(name) for name in frame.columns}, (tuple(rows),))


def _figures(run: Run) -> dict[str, float]:
    summary = run.summary()
    leading = {key: summary[key] for key in LEADING if key in summary}
    tests = figures_of(run).items()
    return leading | {f"test/{on}/{key}": value for (on, key), value in tests if not baseline_of(key)}


def _formatted(table: pd.DataFrame) -> pd.DataFrame:
    """Figures as text, with as many decimals in all of a column: those of the metric in papers, where it has any."""
    return pd.DataFrame({name: _column(str(name), table[name]) for name in table}, index=table.index)


def _column(name: str, figures: "pd.Series[float]") -> list[str]:
    known, largest = figures.dropna(), float(figures.abs().max())
    if (metric := METRICS.get(name.rpartition("/")[2])) is not None:
        decimals = metric.decimals
    elif all(float(figure).is_integer() for figure in known):
        decimals = 0
    else:
        decimals = max(0, DIGITS - 1 - max(math.floor(math.log10(largest)), -1))
    return ["" if pd.isna(figure) else f"{figure:.{decimals}f}" for figure in figures]


def _better(name: object) -> str:
    """Which of two figures in a column is better; empty where neither is, or nobody knows."""
    metric = METRICS.get(str(name).rpartition("/")[2])
    return "" if metric is None else "higher" if metric.higher_is_better else "lower"
