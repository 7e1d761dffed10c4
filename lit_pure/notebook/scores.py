"""Means of several methods with their intervals, in tables and as dots, and differences on the same pictures.

Knows entrants, intervals and how both are written. Resamples are drawn from a fixed seed, so that a notebook gives the
same numbers each time.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from lit_pure.metrics.evaluation import SEED, mean_of
from lit_pure.metrics.intervals import paired_difference
from lit_pure.metrics.table import info_or_plain
from lit_pure.notebook.entrants import (
    Entrant,
    common_metrics,
    common_sets,
    group_comparable,
    paired_scores,
    reason_not_comparable,
)
from lit_pure.notebook.style import FAINT, WIDTH, make_axes, styled
from lit_pure.report.settings import ABSENT

COLUMNS = 3
"""Panels beside each other."""
ROW = ["test set", "pictures of", "method"]
"""Index of a row of the table."""


def means(entrants: Mapping[str, Entrant]) -> pd.DataFrame:
    """Mean scores with 95 % intervals, as numbers.

    Returns:
        one row per (test set, pictures of, method, metric): mean, low, high (NaN if there are too few pictures) and n
        pictures. "pictures of" is a group of `group_comparable`: only means within a group can be compared.
    """
    rows = []
    for group, methods in group_comparable(entrants).items():
        for label, entrant in methods.items():
            by_metric = entrant.scores().stack().dropna().groupby(level=[0, 2], sort=False)  # over images
            for (test_set, metric), values in by_metric:
                one = mean_of(metric, values)
                figures = {"mean": one.mean, "low": one.low, "high": one.high, "n": one.n}
                rows.append(dict(zip([*ROW, "metric"], (test_set, group, label, metric), strict=True)) | figures)
    return pd.DataFrame(rows).sort_values("test set", kind="stable").set_index([*ROW, "metric"])


def table(figures: pd.DataFrame) -> pd.DataFrame:
    """The result of `means` as text: one row per method, one column per metric, "mean [low, high]"."""
    cells = pd.Series([_cell(key[-1], row) for key, row in figures.iterrows()], index=figures.index)
    rows, metrics = figures.index.droplevel("metric").unique(), figures.index.unique("metric")
    found = cells.unstack("metric").reindex(index=rows, columns=metrics).fillna(ABSENT)
    found.columns = [info_or_plain(metric).heading for metric in metrics]
    found.insert(0, "pictures", figures["n"].groupby(level=ROW).max().reindex(rows).astype(str))
    return found


@styled
def dots(entrants: Mapping[str, Entrant], figures: pd.DataFrame, test_set: str = "", group: str = "") -> Figure:
    """Each method's mean as a dot with its interval as a line, one panel per metric.

    Args:
        entrants: the methods, for their colours.
        figures: the result of `means` for them.
        test_set: its name; empty: the first.
        group: of comparable methods, as in the table's second column; empty: the first. Other methods are named.

    Raises:
        ValueError: there is no such group or test set.
    """
    flat = figures.reset_index()
    group = group or str(flat["pictures of"].iloc[0])
    inside = flat[flat["pictures of"] == group]
    test_set = test_set or next(iter(inside["test set"]), "")
    here = inside[inside["test set"] == test_set]
    if here.empty:
        known = figures.index.droplevel(["method", "metric"]).unique().tolist()
        raise ValueError(f"no scores of {test_set or 'any test set'} in group {group!r}; there are {known}")
    methods, metrics = list(dict.fromkeys(here["method"])), list(dict.fromkeys(here["metric"]))
    columns = min(COLUMNS, len(metrics))
    rows = -(-len(metrics) // columns)
    figure, axes = make_axes(rows, columns, WIDTH, rows * (0.9 + 0.3 * len(methods)), sharey=True)
    for ax in axes[len(metrics) :]:
        ax.set_axis_off()
    for ax, metric in zip(axes, metrics, strict=False):
        ax.set_title(f"{info_or_plain(metric).heading}  on {test_set}", fontweight="bold")
        ax.set_yticks(range(len(methods)), methods)
        ax.set_ylim(len(methods) - 0.5, -0.5)
        for row, method in enumerate(methods):
            color = entrants[method].color
            one = here[(here["method"] == method) & (here["metric"] == metric)]
            if not one.empty:
                ax.plot(one[["low", "high"]].to_numpy()[0], [row, row], color=color, linewidth=3, alpha=0.45)
                ax.plot(one["mean"], [row], "o", color=color, markersize=6)
        counts = here[here["metric"] == metric]["n"]
        least, most = int(counts.min()), int(counts.max())
        pictures = str(most) if least == most else f"{least} to {most}"
        ax.set_xlabel(f"mean and 95 % interval, {pictures} pictures", color="#777777", fontsize=8)
        ax.grid(axis="y", color=FAINT, linestyle=":")
    if left_out := [method for method in flat["method"].unique() if method not in set(inside["method"])]:
        figure.supxlabel(f"{group}; left out, different pictures: {', '.join(left_out)}", fontsize=8, color="#777777")
    return figure


def differences(
    entrants: Mapping[str, Entrant], against: Entrant, metrics: Sequence[str] = (), test_set: str = ""
) -> pd.DataFrame:
    """Every method minus one of them on the same pictures; more certain than two means, since pictures differ a lot.

    Args:
        entrants: the methods; those that were tested on other pictures than `against` are left out.
        against: the method that is subtracted.
        metrics: keys; empty: all metrics of `against`.
        test_set: its name; empty: the first of `against`.

    Returns:
        one row per (test set, method, metric): mean difference, its 95 % interval, how many pictures the method won,
        lost and tied, and p of the sign test.

    Raises:
        ValueError: `against` has no such test set.
    """
    sets = common_sets(against, against)
    test_set = test_set or sets[0]
    if test_set not in sets:
        raise ValueError(f"{against.label} has no test set {test_set}; there are {', '.join(sets)}")
    rows = []
    for label, entrant in entrants.items():
        if (
            label == against.label
            or reason_not_comparable(entrant, against)
            or test_set not in common_sets(entrant, against)
        ):
            continue
        for metric in metrics or common_metrics(against, entrant):
            both = paired_scores(entrant, against, metric, test_set)
            row = _difference(both, metric, against.label)
            rows.append({"test set": test_set, "method": label, "metric": info_or_plain(metric).heading, **row})
    return pd.DataFrame(rows).set_index(["test set", "method", "metric"]) if rows else pd.DataFrame()


def _difference(both: pd.DataFrame, metric: str, against: str) -> dict[str, str | int]:
    """The comparison of two methods' scores on the same pictures, as the cells of a row."""
    info, rng = info_or_plain(metric), np.random.default_rng(SEED)
    result = paired_difference(
        both["first"], both["second"], rng, higher_is_better=info.higher_is_better, bounds=info.range
    )
    difference = result.difference
    return {
        f"minus {against}": info.rounded(difference.mean, "+"),
        "95 % interval": f"[{info.rounded(difference.low, '+')}, {info.rounded(difference.high, '+')}]"
        if difference.known
        else ABSENT,
        "wins": result.wins,
        "losses": result.losses,
        "ties": result.ties,
        "p (sign test)": f"{result.p:.3g}",
    }


def _cell(metric: str, row: pd.Series) -> str:
    mean, low, high = (info_or_plain(metric).rounded(float(row[name])) for name in ("mean", "low", "high"))
    return f"{mean} [{low}, {high}]" if np.isfinite(row["low"]) else mean
