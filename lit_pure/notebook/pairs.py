"""Two methods picture by picture: a scatter of their scores, and the pictures where they differ most.

Knows entrants and figures of them. Which one wins is up to the metric's direction (`entrants.py`).

Suffixes: 3 RGB, H W sides of a picture [px].
"""

from dataclasses import replace

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from lit_pure.metrics.table import METRICS
from lit_pure.notebook.entrants import Entrant, heading, kept, together
from lit_pure.notebook.style import FAINT, INK, WIDTH, Panel, axes, draw_map, draw_panel, styled

LABELLED = 5
"""Pictures of a scatter that are named: those that differ most."""
LARGEST_DIFFERENCE = 64
"""Difference of two pictures that is drawn lightest [levels of 255]."""


@styled
def scatter(first: Entrant, second: Entrant, metric: str) -> Figure:
    """Each picture's score by one method over that by the other; on the diagonal both are equal.

    Args:
        first: along the vertical axis.
        second: along the horizontal axis.
        metric: its key.

    Raises:
        ValueError: no picture has a score of both, or the runs' LQ pictures differ.
    """
    both = together(first, second, metric)
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
    place.set(xlabel=f"{second.label}, {heading(metric)}", ylabel=f"{first.label}, {heading(metric)}")
    place.set_title(f"{_label(metric)} picture by picture", fontweight="bold")
    place.legend(loc="upper left", fontsize=8, handletextpad=0.2)
    for (_, image), row in both.reindex(both["gain"].abs().sort_values().index).tail(LABELLED).iterrows():
        place.annotate(
            str(image), (row["second"], row["first"]), xytext=(5, -3), textcoords="offset points", fontsize=7, color=INK
        )
    _sorted_differences(bars, both, metric, first, second)
    return figure


@styled
def extremes(first: Entrant, second: Entrant, metric: str, count: int = 2) -> Figure:
    """The pictures that the first method won and lost most: what both made of them, and how that differs.

    Args:
        first: whose wins and losses.
        second: against whom.
        metric: its key, which decides.
        count: wins, and as many losses; a picture is shown once. The winner has a frame.

    Raises:
        ValueError: as `scatter`.
    """
    both = together(first, second, metric).sort_values("gain", ascending=False)
    shown = pd.concat([both.head(count), both.iloc[count:].tail(count)])
    figure, places = axes(len(shown), 5, WIDTH, 2.35 * len(shown))
    for number, ((test_set, image), row) in enumerate(shown.iterrows()):
        line = places[5 * number : 5 * number + 5]
        frames = (first.color if row["gain"] > 0 else "", second.color if row["gain"] < 0 else "")
        made = [first.picture(test_set, image), second.picture(test_set, image)]
        lq_3hw, hq_3HW = (_of_either(first, second, test_set, kind, image) for kind in ("lq", "hq"))
        panels = [
            Panel(f"{image}\nLQ", lq_3hw, "not kept"),
            *(
                Panel(f"{one.label}\n{_label(metric)} {row[name]:.{_decimals(metric)}f}", picture, "not kept", frame)
                for one, name, picture, frame in zip((first, second), ("first", "second"), made, frames, strict=True)
            ),
            Panel("ground truth", hq_3HW, "not kept"),
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
        draw_panel(place, Panel("their difference", None, "not kept"))
        return
    apart_HW = difference(one, other)
    title = f"their difference\nmean {float(apart_HW.mean()):.1f} levels"
    draw_map(place, apart_HW, title, "levels of 255", (0, LARGEST_DIFFERENCE))


def _of_either(first: Entrant, second: Entrant, test_set: str, kind: str, image: str) -> Tensor | None:
    """LQ or HQ of a picture, from the run that kept it."""
    found = (kept(one.run, test_set, kind, image) for one in (first, second))
    return next((picture for picture in found if picture is not None), None)


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


def _sorted_differences(place: Axes, both: pd.DataFrame, metric: str, first: Entrant, second: Entrant) -> None:
    """All differences from the largest gain to the largest loss, with their mean."""
    ordered = both.sort_values("gain", ascending=False)
    colors = [first.color if gain > 0 else second.color for gain in ordered["gain"]]
    place.bar(range(len(ordered)), ordered["difference"], color=colors, width=0.8)
    mean = float(ordered["difference"].mean())
    place.axhline(0, color="#8a8a8a", linewidth=0.8)
    place.axhline(mean, color=INK, linewidth=1, linestyle="--")
    shown = f"mean {mean:+.{_decimals(metric)}f}"
    place.text(0.99, mean, shown, transform=place.get_yaxis_transform(), ha="right", va="bottom", fontsize=8)
    place.set_title(f"{_label(metric)}, {first.label} minus {second.label}", fontweight="bold")
    if len(ordered) <= 24:
        names = ordered.index.get_level_values("image")
        place.set_xticks(range(len(ordered)), names, rotation=60, ha="right", rotation_mode="anchor", fontsize=7)
    else:
        place.set_xlabel("pictures, sorted")
    place.grid(axis="x", visible=False)


def _label(metric: str) -> str:
    return METRICS[metric].label if metric in METRICS else metric


def _decimals(metric: str) -> int:
    return METRICS[metric].decimals if metric in METRICS else 4
