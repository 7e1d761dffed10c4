"""What an ablation answers: on each test set a row per run, with what differs between the settings, beside baselines.

Knows means and 95 % intervals over pictures, and differences to the first run picture by picture. Knows nothing of
papers.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import pandas as pd

from lit_pure.config.compose import ConfigError
from lit_pure.metrics import rows
from lit_pure.metrics.evaluation import difference_of, mean_of
from lit_pure.metrics.intervals import Interval
from lit_pure.metrics.table import METRICS
from lit_pure.report.measured import (
    BETWEEN,
    baseline_of,
    figures_of,
    has_scores,
    method_of,
    timing_results,
)
from lit_pure.report.settings import differing_settings, short_names
from lit_pure.report.table import NOTHING, Cell, Table, TableRow, mark_best
from lit_pure.runs.folder import Run

INTERVAL = "95 % interval"
EXPLAINED = (
    f"In brackets: {INTERVAL} over pictures. Differences are picture by picture, over those that both runs have."
)
SECONDS = "seconds"
MOST_SETTINGS = 4
"""With more that differ, a table of them is wider than a screen."""
LONGEST = 24
"""Characters of a setting's value."""
INDENT = "  "
"""Of a row that belongs to the one above."""


@dataclass(frozen=True)
class Method:
    """What was scored on a test set: a run's own pictures, or a baseline that a run measured."""

    name: str
    means: Mapping[str, float]
    """By metric."""
    scores: pd.DataFrame | None = None
    """One row per picture, by its name; a column per metric. None: only means are kept."""
    baseline: bool = False
    settings: tuple[str, ...] = ()
    """Values of what differs between runs; empty for a baseline."""
    seconds: float | None = None
    """Per picture, where `lit-pure bench restore` measured it."""


def ablation_table(runs: Sequence[Run], test_set: str = "") -> Table:
    """Every run, and every baseline that one measured, on each test set or on one; from the second run on, the
    difference to the first below it. Figures are marked among equals alone: the same pictures.

    Raises ValueError where a file of a run is damaged, or no run has the test set.
    """
    keys, values, said = _settings(runs)
    blocks, columns = [], _columns(runs)
    for name, methods in _by_set(runs, values).items():
        if test_set and name != test_set:
            continue
        same = _same_pictures(methods)
        if not same:
            said.append(f"{name}: the runs have scores of other pictures; figures do not compare")
        blocks.append(_block(name, methods, columns, len(keys), ranked=same))
    if not blocks:
        raise ValueError(f"no run has a test set {test_set}; leave out --test-set" if test_set else "no test sets")
    heads = ("test set", "method", *short_names(keys), "n")
    better = {key: _better(key) for key in columns}
    marked = mark_best(blocks, list(better.values()))
    if any(cell.aside for block in marked for row in block for cell in row.cells):
        said.append(EXPLAINED)
    return Table("On test sets", heads, better, marked, tuple(said), (INTERVAL, "{} ({})"))


def _settings(runs: Sequence[Run]) -> tuple[list[str], dict[str, tuple[str, ...]], list[str]]:
    """Keys that differ, their values by run, and what is to be said instead of them."""
    try:
        table = differing_settings(runs) if len(runs) > 1 else pd.DataFrame()
    except (ConfigError, OSError) as error:
        return [], {}, [f"settings are not compared: {error}"]
    if len(table) > MOST_SETTINGS:
        return [], {}, [f"{len(table)} settings differ, too many for a table: notebooks/compare_runs.ipynb lists them"]
    cut = table.map(lambda value: value if len(value) <= LONGEST else f"{value[: LONGEST - 1]}…")
    return list(table.index), {label: tuple(cut[label]) for label in cut}, []


def _by_set(runs: Sequence[Run], settings: Mapping[str, tuple[str, ...]]) -> dict[str, list[Method]]:
    """Methods by test set: baselines first, each once where runs agree on its scores."""
    baselines: dict[str, list[Method]] = {}
    own: dict[str, list[Method]] = {}
    for run in runs:
        timed = [float(result.figures[SECONDS].mean) for result in timing_results(run)]
        scores = _scores(run)
        for (name, method), means in _means(run).items():
            single = scores.get((name, method or method_of(run)))
            if method:
                _add(baselines.setdefault(name, []), Method(method, means, single, baseline=True), run)
            else:
                seconds = timed[0] if timed else None
                known = Method(run.label, means, single, settings=settings.get(run.label, ()), seconds=seconds)
                own.setdefault(name, []).append(known)
    return {name: [*baselines.get(name, []), *own.get(name, [])] for name in dict.fromkeys([*own, *baselines])}


def _means(run: Run) -> dict[tuple[str, str], dict[str, float]]:
    """Means by test set and baseline, "" for the run itself."""
    found: dict[tuple[str, str], dict[str, float]] = {}
    for (name, key), mean in figures_of(run).items():
        baseline = baseline_of(key)
        found.setdefault((name, baseline), {})[key.removeprefix(f"{baseline}{BETWEEN}")] = mean
    return found


def _scores(run: Run) -> dict[tuple[str, str], pd.DataFrame]:
    """Scores of single pictures by test set and method, pictures sorted by name."""
    if not has_scores(run):
        return {}
    table = rows.read_rows(run.folder / rows.FILE)
    return {
        (str(name), str(method)): part.set_index("image").drop(columns=["test_set", "method"]).sort_index()
        for (name, method), part in table.groupby(["test_set", "method"], sort=False)
    }


def _add(known: list[Method], found: Method, run: Run) -> None:
    """Add a baseline that no run before has measured alike."""
    if any(one.name.split(" of ")[0] == found.name and _alike(one, found) for one in known):
        return
    taken = any(one.name == found.name for one in known)
    known.append(replace(found, name=f"{found.name} of {run.label}") if taken else found)


def _alike(one: Method, other: Method) -> bool:
    if one.scores is None or other.scores is None:
        return one.scores is other.scores and one.means == other.means
    return one.scores.equals(other.scores)


def _same_pictures(methods: Sequence[Method]) -> bool:
    """Whether all have scores of pictures of the same names; without single scores, nobody knows otherwise."""
    found = [list(method.scores.index) for method in methods if method.scores is not None]
    return all(pictures == found[0] for pictures in found)


def _columns(runs: Sequence[Run]) -> list[str]:
    """Metrics in the order of their table, then others by name, and seconds where a run has them."""
    measured = {key for run in runs for means in _means(run).values() for key in means}
    timed = [SECONDS] if any(timing_results(run) for run in runs) else []
    return [*(key for key in METRICS if key in measured), *sorted(measured - METRICS.keys()), *timed]


def _block(
    test_set: str, methods: Sequence[Method], columns: Sequence[str], settings: int, *, ranked: bool
) -> list[TableRow]:
    """The rows of a test set."""
    found: list[TableRow] = []
    own = [method for method in methods if not method.baseline]
    for method in methods:
        count = NOTHING if method.scores is None else str(len(method.scores))
        values = method.settings or ("",) * settings
        cells = tuple(_cell(method, key) for key in columns)
        found.append(TableRow((test_set, method.name, *values, count), cells, test_set if ranked else None))
        if not method.baseline and method is not own[0]:
            found += _difference(test_set, method, own[0], columns, settings)
    return found


def _cell(method: Method, key: str) -> Cell:
    if key == SECONDS:
        return Cell(NOTHING if method.seconds is None else f"{method.seconds:.3g}")
    single = None if method.scores is None else method.scores.get(key)
    if single is not None and not single.dropna().empty:
        return _figure(key, mean_of(key, single.dropna()))
    return Cell(f"{method.means[key]:.{_decimals(key)}f}") if key in method.means else Cell()


def _difference(test_set: str, method: Method, first: Method, columns: Sequence[str], settings: int) -> list[TableRow]:
    """A row of differences over the pictures that both have scores of; none where there are no such pictures."""
    if method.scores is None or first.scores is None:
        return []
    cells, most = [], 0
    for key in columns:
        if key not in METRICS or key not in method.scores or key not in first.scores:
            cells.append(Cell())
            continue
        pairs = pd.concat([method.scores[key], first.scores[key]], axis=1, join="inner").dropna()
        mine, others = pairs.to_numpy().T.tolist() if len(pairs) else ([], [])
        cells.append(_figure(key, difference_of(key, mine, others).difference, sign="+") if mine else Cell())
        most = max(most, len(pairs))
    head = (test_set, f"{INDENT}minus {first.name}", *[""] * settings, str(most))
    return [TableRow(head, tuple(cells))] if most else []


def _figure(key: str, found: Interval, sign: str = "") -> Cell:
    form = f"{sign}.{_decimals(key)}f"
    return Cell(f"{found.mean:{form}}", f"{found.low:{form}} .. {found.high:{form}}" if found.known else "")


def _decimals(key: str) -> int:
    return METRICS[key].decimals if key in METRICS else 4


def _better(key: str) -> str:
    if key == SECONDS:
        return "lower"
    return ("higher" if METRICS[key].higher_is_better else "lower") if key in METRICS else ""
