"""A search in one figure: how its best value fell, and which values of each knob its trials had.

Knows trials. Knows nothing of Optuna, which reads them (`search/trials.py`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lit_pure.config.compose import is_search, search_of
from lit_pure.config.search import Axis, Value
from lit_pure.notebook.style import COLORS, DARK_IS_HIGH, GREY, WIDTH, make_axes, styled
from lit_pure.runs.folder import Run, experiment_of
from lit_pure.search.storage import file_of
from lit_pure.search.trials import Trial, read_trials

COLUMNS = 3
"""Panels beside each other."""


def names_of(chosen_runs: Sequence[Run]) -> list[str]:
    """The searches among whose trials are these runs."""
    found: dict[str, None] = {}
    for run in chosen_runs:
        parts = experiment_of(run.label).split("/")
        heads = ("/".join(parts[:end]) for end in range(1, len(parts)))
        found |= {head: None for head in heads if file_of(head) is not None and is_search(head)}
    return list(found)


def overview(chosen_runs: Sequence[Run]) -> Figure:
    """The first search among whose trials are these runs; a line that says so where there is none."""
    names = names_of(chosen_runs)
    return draw(names[0]) if names else _nothing()


@styled
def draw(name: str) -> Figure:
    """A panel with the value of each trial and the best so far, and one per knob with its values.

    Dots are finished trials, later ones darker; crosses are pruned, at their last validation. Failed and running ones
    are left out.

    Args:
        name: of the search, for example sweeps/rate.

    Raises:
        ConfigError: it is no search.
        ValueError: it has no finished trial yet.
    """
    asked, trials = search_of(name), read_trials(name)
    done, pruned = (Dots.of(trials, state) for state in ("complete", "pruned"))
    if not done.values:
        raise ValueError(f"{name} has no finished trial yet; lit-pure sweep {name} goes on with it")
    panels = 1 + len(asked.space)
    columns = min(COLUMNS, panels)
    rows = -(-panels // columns)
    figure, axes = make_axes(rows, columns, WIDTH, 2.7 * rows + 0.3)
    for ax in axes[panels:]:
        ax.set_axis_off()
    accumulate = np.minimum.accumulate if asked.direction == "minimize" else np.maximum.accumulate
    best_so_far = accumulate(done.values)
    numbers = [number + 1 for number in done.numbers]
    axes[0].step(numbers, best_so_far, where="post", color=COLORS[0], label="best so far")
    _scatter(axes[0], numbers, done, [number + 1 for number in pruned.numbers], pruned)
    axes[0].set(title="trials", xlabel="trial", ylabel=asked.metric)
    axes[0].legend()
    for ax, axis in zip(axes[1:], asked.space, strict=False):
        _scatter(ax, done.places(axis), done, pruned.places(axis), pruned)
        ax.axhline(best_so_far[-1], color=COLORS[0], linewidth=0.8)
        ax.set(title=axis.name, xlabel=axis.key, ylabel=asked.metric)
        _scale(ax, axis)
    words = f"{name}: {len(done.values)} finished, {len(pruned.values)} pruned"
    figure.suptitle(words, x=0.005, ha="left", fontsize=11)
    return figure


@dataclass(frozen=True)
class Dots:
    """Trials of one state that have a value."""

    numbers: list[int]
    values: list[float]
    chosen: list[Mapping[str, Value]]

    @classmethod
    def of(cls, trials: Sequence[Trial], state: str) -> "Dots":
        """Those among trials."""
        found = [one for one in trials if one.state == state]
        known = [(one, one.value) for one in found if one.value is not None]
        return cls([one.number for one, _ in known], [value for _, value in known], [one.values for one, _ in known])

    def places(self, axis: Axis) -> list[float]:
        """Where they are on an axis; choices are numbered."""
        if axis.choices is not None:
            return [list(axis.choices).index(str(values[axis.key])) for values in self.chosen]
        return [float(values[axis.key]) for values in self.chosen]


def _scatter(ax: Axes, at: Sequence[float], done: Dots, pruned_at: Sequence[float], pruned: Dots) -> None:
    ax.scatter(pruned_at, pruned.values, marker="x", color=GREY, s=16, label="pruned" if pruned.values else None)
    ax.scatter(at, done.values, c=done.numbers, cmap=DARK_IS_HIGH, s=18, label="finished")


def _scale(ax: Axes, axis: Axis) -> None:
    if axis.log:
        ax.set_xscale("log")
    if axis.choices is not None:
        ax.set_xticks(range(len(axis.choices)), list(axis.choices))
        ax.set_xlim(-0.5, len(axis.choices) - 0.5)


@styled
def _nothing() -> Figure:
    figure, [ax] = make_axes(1, 1, WIDTH, 0.5)
    ax.set_axis_off()
    ax.text(0, 0.5, "none of these runs is a trial of a search", color="#777777", va="center")
    return figure
