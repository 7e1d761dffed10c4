"""Two methods picture by picture: a scatter of their scores, and the pictures where they differ most.

Knows entrants and figures of them. Which one wins is up to the metric's direction (`entrants.py`).

Suffixes: 3 RGB, H W sides of a picture [px].
"""

from dataclasses import replace

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from lit_pure.images.labels import GROUND_TRUTH
from lit_pure.metrics.table import MetricInfo, info_or_plain
from lit_pure.notebook.entrants import Entrant, kept_by_any, together
from lit_pure.notebook.style import FAINT, INK, WIDTH, Panel, axes, draw_map, draw_panel, styled

LABELLED = 5
"""Pictures of a scatter that are named: those that differ most."""
LARGEST_DIFFERENCE = 64
"""Difference of two pictures that is drawn lightest [levels of 255]."""


@styled
def scatter(first: Entrant, second: Entrant, metric: str, test_set: str = "") -> Figure:
    """Each picture's score by one method over that by the other; on the diagonal both are equal.

    Args:
        first: along the vertical axis.
        second: along the horizontal axis.
        metric: its key.
        test_set: its name; without it the first that both were tested on.

    Raises:
        ValueError: no picture has a score of both, or the runs' pictures differ.
    """
    both, info = together(first, second, metric, test_set), info_or_plain(metric)
    figure, [place, bars] = axes(1, 2, WIDTH, 4.6, width_ratios=(1, 1.15))
    won = both["gain"] > 0
    for mine, color, who in ((won, first.color, first), (both["gain"] < 0, second.color, second)):
        label = f"{who.label} is better: {int(mine.sum())}"
        place.scatter(
            both["second"][mine], both["first"][mine], color=color, s=26, alpha=0.8, linewidths=0, label=label
        )
    equal = both["gain"] == 0
    if equal.any():
        place.scatter(both["second"][equal], both["first"][equal], color="#777777", s=26, label=f"equal: {equal.sum()}")
    _diagonal(place, both)
    place.set(xlabel=f"{second.label}, {_with_unit(info)}", ylabel=f"{first.label}, {_with_unit(info)}")
    place.set_title(f"{info.heading}  on {_set_of(both)}, picture by picture", fontweight="bold")
    place.legend(loc="upper left", fontsize=8, handletextpad=0.2)
    _name_points(place, both.loc[both["gain"].abs().nlargest(LABELLED).index])
    _sorted_differences(bars, both, info, first, second)
    return figure


@styled
def extremes(first: Entrant, second: Entrant, metric: str, count: int = 2, test_set: str = "") -> Figure:
    """The pictures that the first method won and lost most: what both made of them, and how that differs.

    Args:
        first: whose wins and losses.
        second: against whom.
        metric: its key, which decides.
        count: wins, and as many losses; a picture is shown once. The winner has a frame.
        test_set: as in `scatter`.

    Raises:
        ValueError: as `scatter`.
    """
    info = info_or_plain(metric)
    both = together(first, second, metric, test_set).sort_values("gain", ascending=False)
    shown = pd.concat([both.head(count), both.iloc[count:].tail(count)])
    figure, places = axes(len(shown), 5, WIDTH, 2.35 * len(shown))
    figure.supxlabel(f"test set {_set_of(both)}", fontsize=8, color="#777777")
    for number, ((found_in, image), row) in enumerate(shown.iterrows()):
        line = places[5 * number : 5 * number + 5]
        frames = (first.color if row["gain"] > 0 else "", second.color if row["gain"] < 0 else "")
        made = [first.picture(found_in, image), second.picture(found_in, image)]
        lq_3hw, hq_3HW = (kept_by_any((first, second), found_in, kind, image) for kind in ("lq", "hq"))
        panels = [
            Panel(f"{image}\nLQ", lq_3hw, "not kept"),
            *(
                Panel(f"{one.label}\n{info.label} {info.rounded(row[name])}", picture, "not kept", frame)
                for one, name, picture, frame in zip((first, second), ("first", "second"), made, frames, strict=True)
            ),
            Panel(GROUND_TRUTH, hq_3HW, "not kept"),
        ]
        for place, panel in zip(line, panels, strict=False):
            draw_panel(place, _without_note(panel))
        _draw_difference(line[4], made)
    return figure


def difference(one_3HW: Tensor, other_3HW: Tensor) -> Tensor:
    """How far two pictures are apart at each pixel: the mean of the channels' absolute differences [levels of 255]."""
    return (one_3HW - other_3HW).abs().mean(0) * 255


def _draw_difference(place: Axes, made: list[Tensor | None]) -> None:
    one, other = made
    if one is None or other is None or one.shape != other.shape:
        draw_panel(place, Panel("absolute difference", None, "not kept"))
        return
    apart_HW = difference(one, other)
    title = f"absolute difference\nmean {float(apart_HW.mean()):.1f} levels"
    draw_map(place, apart_HW, title, "levels of 255", (0, LARGEST_DIFFERENCE), beyond="max")


def _name_points(place: Axes, rows: pd.DataFrame) -> None:
    """Names in the lower right, one below the other, with a line from each to its point: points may lie close."""
    for height, ((_, image), row) in enumerate(rows.sort_values("first").iterrows()):
        place.annotate(
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
    """The note stands for a missing picture only."""
    return panel if panel.pixels_3HW is None else replace(panel, note="")


def _diagonal(place: Axes, both: pd.DataFrame) -> None:
    """Equal axes with the line of equal scores."""
    low, high = float(both[["first", "second"]].min().min()), float(both[["first", "second"]].max().max())
    margin = max(0.06 * (high - low), 1e-6)
    limits = (low - margin, high + 3 * margin)  # room for the words above
    place.plot(limits, limits, color=FAINT, zorder=0, linewidth=1.2)
    place.set(xlim=limits, ylim=limits, aspect="equal")


def _sorted_differences(place: Axes, both: pd.DataFrame, info: MetricInfo, first: Entrant, second: Entrant) -> None:
    """All differences from the largest gain to the largest loss, with their mean."""
    ordered = both.sort_values("gain", ascending=False)
    colors = [first.color if gain > 0 else second.color for gain in ordered["gain"]]
    place.bar(range(len(ordered)), ordered["difference"], color=colors, width=0.8)
    mean = float(ordered["difference"].mean())
    place.axhline(0, color="#8a8a8a", linewidth=0.8)
    place.axhline(mean, color=INK, linewidth=1, linestyle="--")
    shown = f"mean\n{info.rounded(mean, '+')}"
    place.text(1.01, mean, shown, transform=place.get_yaxis_transform(), va="center", fontsize=8)
    place.set_title(f"{first.label} minus {second.label}", fontweight="bold")
    place.set_ylabel(f"difference in {_with_unit(info)}")
    if len(ordered) <= 24:
        names = ordered.index.get_level_values("image")
        place.set_xticks(range(len(ordered)), names, rotation=60, ha="right", rotation_mode="anchor", fontsize=7)
    else:
        place.set_xlabel("pictures, sorted")
    place.grid(axis="x", visible=False)


def _set_of(both: pd.DataFrame) -> str:
    """The one test set of what `together` gave."""
    return str(both.index[0][0])


def _with_unit(info: MetricInfo) -> str:
    return f"{info.label} [{info.unit}]" if info.unit else info.label
