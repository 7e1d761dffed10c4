"""Curves of several runs in one figure, from their TensorBoard events.

Knows event files and TensorBoard's smoothing. Knows nothing of what a tag means.

Suffixes: N logged values.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray
from tensorboard.backend.event_processing import event_accumulator
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from lit_pure.notebook.style import INK, WIDTH, colors_of, make_axes, styled
from lit_pure.runs.folder import Run

_SCALARS_ONLY = {
    event_accumulator.SCALARS: 0,  # 0 keeps all values; of other kinds as few as possible
    event_accumulator.IMAGES: 1,
    event_accumulator.TENSORS: 1,
    event_accumulator.AUDIO: 1,
    event_accumulator.HISTOGRAMS: 1,
}
COLUMNS = 2
"""Panels beside each other."""
LEAST_SMOOTHED = 20
"""Values that a curve needs to be smoothed: a running mean of fewer values is far from all of them."""


@dataclass(frozen=True)
class Curve:
    """What was logged under one tag."""

    steps_N: NDArray[np.int64]
    values_N: NDArray[np.float64]


def read_curves(run: Run) -> dict[str, Curve]:
    """Every scalar tag of a run, by name; empty if it has no event files."""
    events = EventAccumulator(str(run.folder), size_guidance=_SCALARS_ONLY)
    events.Reload()
    found = {}
    for tag in sorted(events.Tags()["scalars"]):
        logged = events.Scalars(tag)
        steps_N, values_N = [event.step for event in logged], [event.value for event in logged]
        found[tag] = Curve(np.array(steps_N, dtype=np.int64), np.array(values_N, dtype=np.float64))
    return found


def tags(chosen_runs: Sequence[Run]) -> pd.DataFrame:
    """How many values each run logged under each tag."""
    counts = {run.label: {tag: len(curve.steps_N) for tag, curve in read_curves(run).items()} for run in chosen_runs}
    table = pd.DataFrame(counts).sort_index().fillna(0).astype(int)
    table.index.name = "tag"
    return table


def smooth(values_N: NDArray[np.float64], weight: float) -> NDArray[np.float64]:
    """TensorBoard's smoothing: an exponential mean that is corrected for its start at zero.

    Args:
        values_N: logged values; a value that is not finite stays as it is, and does not affect the values after it.
        weight: of the past, in [0, 1); 0: no smoothing.

    Raises:
        ValueError: the weight is outside its range.
    """
    if not 0 <= weight < 1:
        raise ValueError(f"smoothing {weight} is not in [0, 1); TensorBoard's own default is 0.6")
    logged, finite_N = pd.Series(values_N), np.isfinite(values_N)
    means = logged.where(finite_N).ewm(alpha=1 - weight, ignore_na=True).mean()
    return means.where(finite_N, logged).to_numpy()


@styled
def overlay(
    chosen_runs: Sequence[Run], wanted: Sequence[str], smoothing: float = 0.6, log: bool = False, family: str = ""
) -> Figure:
    """One panel per tag with the curves of all runs that logged it: smoothed, with the raw values faint behind.

    Args:
        chosen_runs: whose curves; runs of another family are left out, and named below.
        wanted: tags, for example train/loss.
        smoothing: as TensorBoard's slider, in [0, 1); a curve of fewer than `LEAST_SMOOTHED` values is not smoothed.
        log: logarithmic scale of the values.
        family: for example tokenizer; empty: that of most runs. The same tag is another loss in another family.

    Raises:
        ValueError: no tags, a smoothing outside its range, or no run of the family.
    """
    if not wanted:
        raise ValueError("name at least one tag, for example train/loss")
    families = {run.label: run.experiment().family for run in chosen_runs}
    family = family or Counter(reversed(families.values())).most_common(1)[0][0]  # in a tie, that of the last run
    found = {run.label: read_curves(run) for run in chosen_runs if families[run.label] == family}
    if not found:
        raise ValueError(f"no run of family {family}; there are {', '.join(sorted(set(families.values())))}")
    all_colors = colors_of(list(families))  # as in the figures of scores
    colors = {label: all_colors[label] for label in found}
    columns = min(COLUMNS, len(wanted))
    rows = -(-len(wanted) // columns)
    figure, axes = make_axes(rows, columns, WIDTH, 2.7 * rows + 0.3)
    for ax in axes[len(wanted) :]:
        ax.set_axis_off()
    for ax, tag in zip(axes, wanted, strict=False):
        ax.set_title(tag, fontweight="bold")
        ax.set_xlabel("optimizer step")
        ax.xaxis.set_major_locator(MaxNLocator(8, integer=True, steps=[1, 2, 5, 10]))
        if log:
            ax.set_yscale("log")
        if not any(tag in curves for curves in found.values()):
            ax.set(xticks=[], yticks=[])
            ax.text(0.5, 0.5, "no run logged this tag", transform=ax.transAxes, ha="center", color="#777777")
        for label, color in colors.items():
            if tag in found[label]:
                _draw(ax, found[label][tag], smoothing, color)
    _legend(figure, {label: color for label, color in colors.items() if any(tag in found[label] for tag in wanted)})
    if left_out := [f"{label} ({other})" for label, other in families.items() if other != family]:
        figure.supxlabel(f"family {family}; left out: {', '.join(left_out)}", fontsize=8, color="#777777")
    return figure


def _draw(ax: Axes, curve: Curve, smoothing: float, color: str) -> None:
    if len(curve.values_N) < LEAST_SMOOTHED:
        ax.plot(curve.steps_N, curve.values_N, color=color, marker="o", markersize=4)
        return
    ax.plot(curve.steps_N, curve.values_N, color=color, alpha=0.25, linewidth=1)
    ax.plot(curve.steps_N, smooth(curve.values_N, smoothing), color=color)


def _legend(figure: Figure, colors: Mapping[str, str]) -> None:
    handles = [Line2D([], [], color=color, linewidth=3, label=label) for label, color in colors.items()]
    figure.legend(handles=handles, loc="outside upper left", ncols=4, handlelength=1.2, labelcolor=INK)
