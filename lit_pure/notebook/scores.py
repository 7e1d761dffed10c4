"""Means of several methods with their intervals, in tables and as dots, and differences on the same pictures.

Knows entrants, intervals and how both are written. The resamples are drawn from one fixed seed, so that a notebook
that is run again says the same.
"""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from lit_pure.metrics.intervals import Interval, bootstrap_mean, paired
from lit_pure.metrics.table import METRICS
from lit_pure.notebook.choose import ABSENT
from lit_pure.notebook.entrants import Entrant, common_metrics, comparable, heading, higher_is_better, together
from lit_pure.notebook.style import FAINT, WIDTH, axes, styled

SEED = 0
"""Of the resamples."""
COLUMNS = 3
"""Panels beside each other."""


def means(all_of_them: Mapping[str, Entrant]) -> pd.DataFrame:
    """Mean scores with 95 % intervals, as numbers.

    Returns:
        one row per (test set, method, metric): mean, low, high (NaN where there are too few pictures) and n pictures.
    """
    rows = []
    for label, entrant in all_of_them.items():
        for (test_set, metric), interval in _intervals(entrant):
            figures = {"mean": interval.mean, "low": interval.low, "high": interval.high, "n": interval.n}
            rows.append({"test set": test_set, "method": label, "metric": metric, **figures})
    return pd.DataFrame(rows).set_index(["test set", "method", "metric"])


def table(figures: pd.DataFrame) -> pd.DataFrame:
    """What `means` gives, to be read: one row per method, one column per metric, "mean [low, high]"."""
    flat = figures.reset_index()
    sets, methods, metrics = (list(dict.fromkeys(flat[name])) for name in ("test set", "method", "metric"))
    rows: dict[tuple[str, str], dict[str, str]] = {}
    for test_set in sets:
        for method in methods:
            here = {
                metric: figures.loc[key] for metric in metrics if (key := (test_set, method, metric)) in figures.index
            }
            if here:
                count = int(max(row["n"] for row in here.values()))
                cells = {heading(metric): _cell(metric, row) for metric, row in here.items()}
                rows[test_set, method] = {"pictures": str(count), **cells}
    found = pd.DataFrame.from_dict(rows, orient="index")[["pictures", *map(heading, metrics)]].fillna(ABSENT)
    found.index = pd.MultiIndex.from_tuples(rows, names=["test set", "method"])
    return found


@styled
def dots(all_of_them: Mapping[str, Entrant], figures: pd.DataFrame, test_set: str = "") -> Figure:
    """Each method's mean as a dot with its interval as a line, one panel per metric.

    Args:
        all_of_them: the methods, for their colours.
        figures: what `means` gives of them.
        test_set: its name; without it the first.
    """
    flat = figures.reset_index()
    test_set = test_set or str(flat["test set"].iloc[0])
    here = flat[flat["test set"] == test_set]
    methods, metrics = list(dict.fromkeys(here["method"])), list(dict.fromkeys(here["metric"]))
    columns = min(COLUMNS, len(metrics))
    rows = -(-len(metrics) // columns)
    figure, places = axes(rows, columns, WIDTH, rows * (0.9 + 0.3 * len(methods)), sharey=True)
    for place in places[len(metrics) :]:
        place.set_axis_off()
    for place, metric in zip(places, metrics, strict=False):
        place.set_title(f"{heading(metric)}  on {test_set}", fontweight="bold")
        place.set_yticks(range(len(methods)), methods)
        place.set_ylim(len(methods) - 0.5, -0.5)
        for row, method in enumerate(methods):
            color = all_of_them[method].color
            one = here[(here["method"] == method) & (here["metric"] == metric)]
            if not one.empty:
                place.plot(one[["low", "high"]].to_numpy()[0], [row, row], color=color, linewidth=3, alpha=0.45)
                place.plot(one["mean"], [row], "o", color=color, markersize=6)
        counts = here[here["metric"] == metric]["n"]
        least, most = int(counts.min()), int(counts.max())
        pictures = str(most) if least == most else f"{least} to {most}"
        place.set_xlabel(f"mean and 95 % interval, {pictures} pictures", color="#777777", fontsize=8)
        place.grid(axis="y", color=FAINT, linestyle=":")
    return figure


def differences(all_of_them: Mapping[str, Entrant], against: Entrant, metrics: Sequence[str] = ()) -> pd.DataFrame:
    """Every method minus one of them on the same pictures, which is surer than two means: pictures differ a lot.

    Args:
        all_of_them: the methods; those that were tested on other pictures than `against` are left out.
        against: what is subtracted.
        metrics: keys; without them all that `against` has.

    Returns:
        one row per (method, metric): mean difference, its 95 % interval, how many pictures the method won, lost and
        tied, and p of the sign test.

    """
    rows = []
    for label, entrant in all_of_them.items():
        mine, theirs = entrant.scores(), against.scores()
        if label == against.label or comparable(entrant, against) or not mine.index.isin(theirs.index).any():
            continue
        for metric in metrics or common_metrics(against, entrant):
            both = together(entrant, against, metric)
            direction = higher_is_better(metric)
            rng = np.random.default_rng(SEED)
            result = paired(both["first"], both["second"], rng, higher_is_better=direction)
            mean, low, high = (_signed(metric, value) for value in _numbers(result.difference))
            rows.append(
                {
                    "method": label,
                    "metric": heading(metric),
                    f"minus {against.label}": mean,
                    "95 % interval": f"[{low}, {high}]" if result.difference.known else ABSENT,
                    "wins": result.wins,
                    "losses": result.losses,
                    "ties": result.ties,
                    "p (sign test)": f"{result.p:.3g}",
                }
            )
    return pd.DataFrame(rows).set_index(["method", "metric"]) if rows else pd.DataFrame()


def _intervals(entrant: Entrant) -> Iterable[tuple[tuple[str, str], Interval]]:
    scores = entrant.scores()
    for test_set in dict.fromkeys(scores.index.get_level_values("test_set")):
        for metric in scores:
            values = scores.loc[test_set, metric].dropna()
            if len(values):
                yield (test_set, str(metric)), bootstrap_mean(values, np.random.default_rng(SEED))


def _cell(metric: str, row: pd.Series) -> str:
    mean, low, high = (_rounded(metric, float(row[name])) for name in ("mean", "low", "high"))
    return f"{mean} [{low}, {high}]" if np.isfinite(row["low"]) else mean


def _numbers(interval: Interval) -> tuple[float, float, float]:
    return interval.mean, interval.low, interval.high


def _rounded(metric: str, value: float, sign: str = "") -> str:
    decimals = METRICS[metric].decimals if metric in METRICS else 4
    return f"{value:{sign}.{decimals}f}"


def _signed(metric: str, value: float) -> str:
    return _rounded(metric, value, "+")
