"""All methods on the same pictures, in one table: baselines that the runs measured, then the runs, with intervals.

Knows `scores.csv` of runs and which of its methods are baselines. Knows nothing of papers.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from lit_pure.metrics import rows
from lit_pure.metrics.evaluation import mean_of
from lit_pure.metrics.table import METRICS
from lit_pure.report.measured import has_scores, method_of, timing_results
from lit_pure.report.table import NOTHING, Cell, Table, TableRow, mark_best
from lit_pure.runs.folder import Run

INTERVAL = "95 % interval"
SECONDS = "seconds"


@dataclass(frozen=True)
class Method:
    """What has scores of its own: a run, or a baseline that a run measured."""

    name: str
    scores: pd.DataFrame
    """One row per picture, by its name; a column per metric."""
    seconds: float | None = None
    """Per picture, where `lit-pure bench restore` measured it."""


def methods_table(runs: Sequence[Run], test_set: str = "") -> Table:
    """Every method of the runs on each test set, or on one. Figures are marked among equals alone: the same pictures.

    Raises ValueError where a run has no scores of single pictures, its file is damaged, or no run has the test set.
    """
    blocks, columns, said = [], _columns(runs), []
    for name, methods in _by_set(runs).items():
        if test_set and name != test_set:
            continue
        pictures = [sorted(method.scores.index) for method in methods]
        same = all(found == pictures[0] for found in pictures)
        if not same:
            said.append(f"{name}: the runs have scores of other pictures; figures do not compare")
        blocks.append([_row(name, method, columns, name if same else None) for method in methods])
    if not blocks:
        raise ValueError(f"no run has a test set {test_set}; leave out --test-set" if test_set else "no test sets")
    better = {key: _better(key) for key in columns}
    aside = (INTERVAL, "{} ({})")
    heads, title = ("test set", "method", "n"), "Methods on the same pictures"
    return Table(title, heads, better, mark_best(blocks, list(better.values())), tuple(said), aside)


def _by_set(runs: Sequence[Run]) -> dict[str, list[Method]]:
    """Methods by test set: baselines first, each once where runs agree on its scores."""
    baselines: dict[str, list[Method]] = {}
    own: dict[str, list[Method]] = {}
    for run in runs:
        if not has_scores(run):
            raise ValueError(f"{run.label} has no scores of single pictures ({rows.FILE}); run its experiment again")
        table = rows.read_rows(run.folder / rows.FILE)
        timed = [float(result.figures[SECONDS].mean) for result in timing_results(run)]
        for (name, method), part in table.groupby(["test_set", "method"], sort=False):
            scores = part.set_index("image").drop(columns=["test_set", "method"]).sort_index()
            if method == method_of(run):
                own.setdefault(str(name), []).append(Method(run.label, scores, timed[0] if timed else None))
            else:
                _add(baselines.setdefault(str(name), []), Method(str(method), scores), run)
    return {name: [*baselines.get(name, []), *own.get(name, [])] for name in dict.fromkeys([*own, *baselines])}


def _add(known: list[Method], found: Method, run: Run) -> None:
    if any(one.name.split(" of ")[0] == found.name and one.scores.equals(found.scores) for one in known):
        return
    taken = any(one.name == found.name for one in known)
    known.append(Method(f"{found.name} of {run.label}", found.scores) if taken else found)


def _columns(runs: Sequence[Run]) -> list[str]:
    """Metrics in the order of their table, and seconds where a run has them."""
    files = [run.folder / rows.FILE for run in runs if has_scores(run)]
    measured = {key for file in files for key in rows.read_rows(file)}
    timed = [SECONDS] if any(timing_results(run) for run in runs) else []
    return [*(key for key in METRICS if key in measured), *timed]


def _row(test_set: str, method: Method, columns: Sequence[str], group: str | None) -> TableRow:
    cells = []
    for key in columns:
        if key == SECONDS:
            cells.append(Cell(NOTHING if method.seconds is None else f"{method.seconds:.3g}"))
            continue
        scores = method.scores.get(key, pd.Series(dtype=float)).dropna()
        if scores.empty:
            cells.append(Cell())
            continue
        found, digits = mean_of(key, scores), METRICS[key].decimals
        span = f"{found.low:.{digits}f} .. {found.high:.{digits}f}" if found.known else ""
        cells.append(Cell(f"{found.mean:.{digits}f}", span))
    return TableRow((test_set, method.name, str(len(method.scores))), tuple(cells), group)


def _better(key: str) -> str:
    return "lower" if key == SECONDS else "higher" if METRICS[key].higher_is_better else "lower"
