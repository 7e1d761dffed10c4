"""A table of a search's trials, the best one first. Knows trials; imports no torch."""

from collections.abc import Sequence

from lit_pure.config.search import SearchConfig
from lit_pure.report.table import NOTHING, Cell, Table, TableRow, mark_best
from lit_pure.search.trials import Trial

_ORDER = {"complete": 0, "pruned": 1, "running": 2, "failed": 3}


def trials_table(name: str, asked: SearchConfig, trials: Sequence[Trial]) -> Table:
    """A row per trial with its values: finished ones by the metric, then what was pruned, runs, or failed."""
    lower = asked.direction == "minimize"
    rows = tuple(_row(trial, asked) for trial in sorted(trials, key=lambda trial: _place(trial, lower)))
    better = "lower" if lower else "higher"
    heads = ("trial", "state", *(axis.name for axis in asked.space))
    failed = tuple(f"trial {trial.number + 1} failed: {trial.reason}" for trial in trials if trial.state == "failed")
    return Table(f"Trials of {name}", heads, {asked.metric: better}, mark_best([rows], [better]), failed)


def _place(trial: Trial, lower: bool) -> tuple[int, float, int]:
    value = 0.0 if trial.value is None else trial.value
    return _ORDER[trial.state], value if lower else -value, trial.number


def _row(trial: Trial, asked: SearchConfig) -> TableRow:
    state = f"pruned at step {trial.pruned_at}" if trial.state == "pruned" else trial.state
    shown = (axis.shown(trial.values[axis.key]) if axis.key in trial.values else NOTHING for axis in asked.space)
    value = Cell(NOTHING if trial.value is None else f"{trial.value:.5g}")
    return TableRow((str(trial.number + 1), state, *shown), (value,), "all" if trial.state == "complete" else None)
