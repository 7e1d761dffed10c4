"""The curves of a study with levels: how the mean and the worst tenth of each arm move as degradation grows.

Knows matplotlib and estimates by level. Knows nothing of how they were made (`levels.py`).
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lit_pure.files.atomic import whole_file
from lit_pure.metrics.table import info_or_plain
from lit_pure.notebook.style import DPI, WIDTH, colors_of, make_axes, styled
from lit_pure.study.levels import LevelResult

SHOWN = ("mean", "worst tenth")
"""The statistics that are drawn, a panel each."""
HEIGHT = 2.4
"""Of a row of panels [inches]."""
ASIDE = 0.06
"""Distance between arms at one level, as a share of that between levels: their intervals stay apart."""


@styled
def curves(by_metric: Mapping[str, Sequence[LevelResult]], levels: Sequence[str], arms: Sequence[str]) -> Figure:
    """A row of panels for each metric, with one line per arm and its 95 % intervals.

    Args:
        by_metric: the results of `level_results`.
        levels: mildest first.
        arms: all of the study; each keeps its colour, whether it is done or not.
    """
    figure, axes = make_axes(len(by_metric), len(SHOWN), WIDTH, HEIGHT * len(by_metric), sharex=True, sharey="row")
    colors = colors_of(arms)
    for at, (metric, results) in enumerate(by_metric.items()):
        for ax, label in zip(axes[at * len(SHOWN) :], SHOWN, strict=False):
            ax.set_title(f"{info_or_plain(metric).heading}, {label}", fontweight="bold")
            for index, arm in enumerate(arms):
                here = {one.level: one for one in results if one.arm == arm and one.statistic.label == label}
                _line(ax, here, levels, arm, colors[arm], (index - (len(arms) - 1) / 2) * ASIDE)
    for ax in axes[-len(SHOWN) :]:
        ax.set_xticks(range(len(levels)), levels)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=len(arms))
    return figure


def write_curves(figure: Figure, path: Path) -> None:
    """Write the figure as a PNG that names no program: the same scores give the same bytes. Raises OSError."""
    with whole_file(path) as partial:
        figure.savefig(partial, format="png", dpi=DPI, metadata={"Software": None})


def _line(ax: Axes, here: Mapping[str, LevelResult], levels: Sequence[str], arm: str, color: str, aside: float) -> None:
    if not here:
        return
    places = [at + aside for at, level in enumerate(levels) if level in here]
    found = [here[level].value for level in levels if level in here]
    ends = [[one.mean - one.low for one in found], [one.high - one.mean for one in found]]  # NaN draws no bar
    ax.errorbar(places, [one.mean for one in found], yerr=ends, color=color, label=arm, marker="o", markersize=4)
