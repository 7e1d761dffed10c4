"""Means of several methods with their intervals, in tables and as dots, and differences on the same pictures.

Knows entrants, intervals and how both are written. The resamples are drawn from one fixed seed, so that a notebook
that is run again says the same.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from lit_pure.metrics.evaluation import SEED, mean_of
from lit_pure.metrics.intervals import paired_difference
from lit_pure.metrics.table import info_or_plain
from lit_pure.notebook.choose import ABSENT
from lit_pure.notebook.entrants import Entrant, blocks, common_metrics, common_sets, comparable, together
from lit_pure.notebook.style import FAINT, WIDTH, axes, styled

COLUMNS = 3
"""Panels beside each other."""
ROW = ["test set", "pictures of", "method"]
"""What a row of the table is about."""


def means(all_of_them: Mapping[str, Entrant]) -> pd.DataFrame:
    """Mean scores with 95 % intervals, as numbers.

    Returns:
        one row per (test set, pictures of, method, metric): mean, low, high (NaN where there are too few pictures) and
        n pictures. "pictures of" is one of `entrants.blocks`: only within it means can be compared.
    """
    rows = []
    for block, methods in blocks(all_of_them).items():
        for label, entrant in methods.items():
            by_metric = entrant.scores().stack().dropna().groupby(level=[0, 2], sort=False)  # over images
            for (test_set, metric), values in by_metric:
                one = mean_of(metric, values)
                figures = {"mean": one.mean, "low": one.low, "high": one.high, "n": one.n}
                rows.append(dict(zip([*ROW, "metric"], (test_set, block, label, metric), strict=True)) | figures)
    return pd.DataFrame(rows).sort_values("test set", kind="stable").set_index([*ROW, "metric"])


def table(figures: pd.DataFrame) -> pd.DataFrame:
    """What `means` gives, to be read: one row per method, one column per metric, "mean [low, high]"."""
    cells = pd.Series([_cell(key[-1], row) for key, row in figures.iterrows()], index=figures.index)
    rows, metrics = figures.index.droplevel("metric").unique(), figures.index.unique("metric")
    found = cells.unstack("metric").reindex(index=rows, columns=metrics).fillna(ABSENT)
    found.columns = [info_or_plain(metric).heading for metric in metrics]
    found.insert(0, "pictures", figures["n"].groupby(level=ROW).max().reindex(rows).astype(str))
    return found


@styled
def dots(all_of_them: Mapping[str, Entrant], figures: pd.DataFrame, test_set: str = "", block: str = "") -> Figure:
    """Each method's mean as a dot with its interval as a line, one panel per metric.

    Args:
        all_of_them: the methods, for their colours.
        figures: what `means` gives of them.
        test_set: its name; without it the first.
        block: whose means can be compared, as in the table's second column; without it the first. Others are named.

    Raises:
        ValueError: there is no such block or test set.
    """
    flat = figures.reset_index()
    block = block or str(flat["pictures of"].iloc[0])
    inside = flat[flat["pictures of"] == block]
    test_set = test_set or next(iter(inside["test set"]), "")
    here = inside[inside["test set"] == test_set]
    if here.empty:
        known = figures.index.droplevel(["method", "metric"]).unique().tolist()
        raise ValueError(f"no scores of {test_set or 'any test set'} in block {block!r}; there are {known}")
    methods, metrics = list(dict.fromkeys(here["method"])), list(dict.fromkeys(here["metric"]))
    columns = min(COLUMNS, len(metrics))
    rows = -(-len(metrics) // columns)
    figure, places = axes(rows, columns, WIDTH, rows * (0.9 + 0.3 * len(methods)), sharey=True)
    for place in places[len(metrics) :]:
        place.set_axis_off()
    for place, metric in zip(places, metrics, strict=False):
        place.set_title(f"{info_or_plain(metric).heading}  on {test_set}", fontweight="bold")
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
    if others := [method for method in flat["method"].unique() if method not in set(inside["method"])]:
        figure.supxlabel(f"{block}; left out, of other pictures: {', '.join(others)}", fontsize=8, color="#777777")
    return figure


def differences(
    all_of_them: Mapping[str, Entrant], against: Entrant, metrics: Sequence[str] = (), test_set: str = ""
) -> pd.DataFrame:
    """Every method minus one of them on the same pictures, which is surer than two means: pictures differ a lot.

    Args:
        all_of_them: the methods; those that were tested on other pictures than `against` are left out.
        against: what is subtracted.
        metrics: keys; without them all that `against` has.
        test_set: its name; without it the first of `against`.

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
    for label, entrant in all_of_them.items():
        if label == against.label or comparable(entrant, against) or test_set not in common_sets(entrant, against):
            continue
        for metric in metrics or common_metrics(against, entrant):
            both = together(entrant, against, metric, test_set)
            row = _difference(both, metric, against.label)
            rows.append({"test set": test_set, "method": label, "metric": info_or_plain(metric).heading, **row})
    return pd.DataFrame(rows).set_index(["test set", "method", "metric"]) if rows else pd.DataFrame()


def _difference(both: pd.DataFrame, metric: str, against: str) -> dict[str, str | int]:
    """What two methods' scores on the same pictures say, as the cells of a row."""
    info, rng = info_or_plain(metric), np.random.default_rng(SEED)
    result = paired_difference(
        both["first"], both["second"], rng, higher_is_better=info.higher_is_better, bounds=info.range
    )
    apart = result.difference
    return {
        f"minus {against}": info.rounded(apart.mean, "+"),
        "95 % interval": f"[{info.rounded(apart.low, '+')}, {info.rounded(apart.high, '+')}]"
        if apart.known
        else ABSENT,
        "wins": result.wins,
        "losses": result.losses,
        "ties": result.ties,
        "p (sign test)": f"{result.p:.3g}",
    }


def _cell(metric: str, row: pd.Series) -> str:
    mean, low, high = (info_or_plain(metric).rounded(float(row[name])) for name in ("mean", "low", "high"))
    return f"{mean} [{low}, {high}]" if np.isfinite(row["low"]) else mean
