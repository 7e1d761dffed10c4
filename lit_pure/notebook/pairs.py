"""Two methods picture by picture: a scatter of their scores, and the pictures where they differ most.

Knows entrants and figures of them. The metric's direction decides which one wins (`entrants.py`).

Suffixes: 3 RGB, H W sides of a picture [px].
"""

from dataclasses import replace

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from lit_pure.images.labels import GROUND_TRUTH
from lit_pure.metrics.table import MetricInfo, info_or_plain
from lit_pure.notebook.entrants import Entrant, paired_scores, read_first_picture
from lit_pure.notebook.style import FAINT, INK, WIDTH, Panel, draw_map, draw_panel, make_axes, styled

LABELLED = 5
"""Pictures of a scatter plot that are named: those with the largest differences."""
LARGEST_DIFFERENCE = 64
"""Upper end of the colour scale for the difference of two pictures [levels of 255]."""


@styled
def scatter(first: Entrant, second: Entrant, metric: str, test_set: str = "") -> Figure:
    """Each picture's score by one method over its score by the other; both are equal on the diagonal.

    Args:
        first: along the vertical axis.
        second: along the horizontal axis.
        metric: its key.
        test_set: its name; empty: the first on which both were tested.

    Raises:
        ValueError: no picture has scores of both, or the runs' pictures differ.
    """
    both, info = paired_scores(first, second, metric, test_set), info_or_plain(metric)
    figure, [ax, bars] = make_axes(1, 2, WIDTH, 4.6, width_ratios=(1, 1.15))
    won = both["gain"] > 0
    for mine, color, who in ((won, first.color, first), (both["gain"] < 0, second.color, second)):
        label = f"{who.label} is better: {int(mine.sum())}"
        ax.scatter(both["second"][mine], both["first"][mine], color=color, s=26, alpha=0.8, linewidths=0, label=label)
    equal = both["gain"] == 0
    if equal.any():
        ax.scatter(both["second"][equal], both["first"][equal], color="#777777", s=26, label=f"equal: {equal.sum()}")
    _diagonal(ax, both)
    ax.set(xlabel=f"{second.label}, {_with_unit(info)}", ylabel=f"{first.label}, {_with_unit(info)}")
    ax.set_title(f"{info.heading}  on {_set_of(both)}, picture by picture", fontweight="bold")
    ax.legend(loc="upper left", fontsize=8, handletextpad=0.2)
    _name_points(ax, both.loc[both["gain"].abs().nlargest(LABELLED).index])
    _sorted_differences(bars, both, info, first, second)
    return figure


@styled
def extremes(first: Entrant, second: Entrant, metric: str, count: int = 2, test_set: str = "") -> Figure:
    """The largest wins and losses of the first method: both versions of the picture, and their difference.

    Args:
        first: the method whose wins and losses are shown.
        second: the other method.
        metric: its key.
        count: number of wins, and of losses; a picture is shown once. The winner has a frame.
        test_set: as in `scatter`.

    Raises:
        ValueError: as in `scatter`.
    """
    info = info_or_plain(metric)
    both = paired_scores(first, second, metric, test_set).sort_values("gain", ascending=False)
    shown = pd.concat([both.head(count), both.iloc[count:].tail(count)])
    figure, axes = make_axes(len(shown), 5, WIDTH, 2.35 * len(shown))
    figure.supxlabel(f"test set {_set_of(both)}", fontsize=8, color="#777777")
    for number, ((found_in, image), row) in enumerate(shown.iterrows()):
        line = axes[5 * number : 5 * number + 5]
        frames = (first.color if row["gain"] > 0 else "", second.color if row["gain"] < 0 else "")
        made = [first.picture(found_in, image), second.picture(found_in, image)]
        lq_3hw, hq_3HW = (read_first_picture((first, second), found_in, kind, image) for kind in ("lq", "hq"))
        panels = [
            Panel(f"{image}\nLQ", lq_3hw, "not kept"),
            *(
                Panel(f"{one.label}\n{info.label} {info.rounded(row[name])}", picture, "not kept", frame)
                for one, name, picture, frame in zip((first, second), ("first", "second"), made, frames, strict=True)
            ),
            Panel(GROUND_TRUTH, hq_3HW, "not kept"),
        ]
        for ax, panel in zip(line, panels, strict=False):
            draw_panel(ax, _without_note(panel))
        _draw_difference(line[4], made)
    return figure


def absolute_difference(one_3HW: Tensor, other_3HW: Tensor) -> Tensor:
    """Difference of two pictures at each pixel: mean absolute difference of the channels [levels of 255]."""
    return (one_3HW - other_3HW).abs().mean(0) * 255


def _draw_difference(ax: Axes, made: list[Tensor | None]) -> None:
    one, other = made
    if one is None or other is None or one.shape != other.shape:
        draw_panel(ax, Panel("absolute difference", None, "not kept"))
        return
    difference_HW = absolute_difference(one, other)
    title = f"absolute difference\nmean {float(difference_HW.mean()):.1f} levels"
    draw_map(ax, difference_HW, title, "levels of 255", (0, LARGEST_DIFFERENCE), beyond="max")


def _name_points(ax: Axes, rows: pd.DataFrame) -> None:
    """Names in the lower right, one below the other, each with a line to its point, since points may be close."""
    for height, ((_, image), row) in enumerate(rows.sort_values("first").iterrows()):
        ax.annotate(
            str(image),
            (row["second"], row["first"]),
            xytext=(0.99, 0.03 + 0.05 * height),
            textcoords="axes fraction",
            ha="right",
            va="center",
            fontsize=7,
            color=INK,
            arrowprops={"arrowstyle": "-", "color": FAINT, "linewidth": 0.8, "shrinkB": 4, "relpos": (0, 0.5)},
        )


def _without_note(panel: Panel) -> Panel:
    """The panel without its note, unless its picture is missing."""
    return panel if panel.pixels_3HW is None else replace(panel, note="")


def _diagonal(ax: Axes, both: pd.DataFrame) -> None:
    """Equal axes with the line of equal scores."""
    low, high = float(both[["first", "second"]].min().min()), float(both[["first", "second"]].max().max())
    margin = max(0.06 * (high - low), 1e-6)
    limits = (low - margin, high + 3 * margin)  # room for the legend above
    ax.plot(limits, limits, color=FAINT, zorder=0, linewidth=1.2)
    ax.set(xlim=limits, ylim=limits, aspect="equal")


def _sorted_differences(ax: Axes, both: pd.DataFrame, info: MetricInfo, first: Entrant, second: Entrant) -> None:
    """All differences from the largest gain to the largest loss, with their mean."""
    ordered = both.sort_values("gain", ascending=False)
    colors = [first.color if gain > 0 else second.color for gain in ordered["gain"]]
    ax.bar(range(len(ordered)), ordered["difference"], color=colors, width=0.8)
    mean = float(ordered["difference"].mean())
    ax.axhline(0, color="#8a8a8a", linewidth=0.8)
    ax.axhline(mean, color=INK, linewidth=1, linestyle="--")
    shown = f"mean\n{info.rounded(mean, '+')}"
    ax.text(1.01, mean, shown, transform=ax.get_yaxis_transform(), va="center", fontsize=8)
    ax.set_title(f"{first.label} minus {second.label}", fontweight="bold")
    ax.set_ylabel(f"difference in {_with_unit(info)}")
    if len(ordered) <= 24:
        names = ordered.index.get_level_values("image")
        ax.set_xticks(range(len(ordered)), names, rotation=60, ha="right", rotation_mode="anchor", fontsize=7)
    else:
        ax.set_xlabel("pictures, sorted")
    ax.grid(axis="x", visible=False)


def _set_of(both: pd.DataFrame) -> str:
    """The test set of the scores that `paired_scores` returns."""
    return str(both.index[0][0])


def _with_unit(info: MetricInfo) -> str:
    return f"{info.label} [{info.unit}]" if info.unit else info.label
