"""The style of the notebooks' figures: grids of pictures, colours of runs and of numbers.

Knows matplotlib and pixels in [0, 1]. Knows nothing of what is shown. Figures are made without pyplot: a figure is a
value like any other, which a notebook shows and `savefig` writes, and which need not be closed.

Suffixes: 3 RGB, H height, W width, h w the sides of a map.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, ParamSpec

import matplotlib
import torch
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, ListedColormap
from matplotlib.figure import Figure
from matplotlib.typing import RcKeyType
from torch import Tensor

from lit_pure.images.color import heatmap

COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7f3c8d", "#8c6d31")
"""Distinguishable with colour-blindness (Okabe and Ito 2008, without yellow and with two more)."""
FAINT, GREY, INK, HIGHLIGHT = "#c9c9c9", "#6b6b6b", "#222222", "#e6194b"
WIDTH = 11.0
"""Width of a whole figure [inches]: fits a notebook's column and a slide."""
DPI = 110
LETTER = 0.075
"""Mean width of a letter in a picture's title [inches]."""
STYLE: dict[RcKeyType, Any] = {
    "figure.dpi": DPI,
    "savefig.dpi": 200,
    "figure.facecolor": "white",
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.labelsize": 9,
    "axes.labelcolor": INK,
    "axes.edgecolor": "#8a8a8a",
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.prop_cycle": cycler(color=COLORS),
    "grid.color": "#e7e7e7",
    "grid.linewidth": 0.7,
    "xtick.color": "#5a5a5a",
    "ytick.color": "#5a5a5a",
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "lines.linewidth": 1.6,
}
LIGHT_IS_HIGH: Colormap = ListedColormap(
    heatmap(torch.linspace(0, 1, 256)[None], 0, 1)[:, 0].T.numpy(), name="lit_pure"
)
"""The colours of `images.color.heatmap`: dark blue is low, light yellow is high."""
DARK_IS_HIGH: Colormap = LIGHT_IS_HIGH.reversed()
"""For entropies, as in the paper's figure 3."""

Arguments = ParamSpec("Arguments")


def styled(function: Callable[Arguments, Figure]) -> Callable[Arguments, Figure]:
    """Let a function draw its figure in this style, whatever the notebook's settings are."""

    @functools.wraps(function)
    def drawing(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Figure:
        with matplotlib.rc_context(STYLE):
            return function(*args, **kwargs)

    return drawing


def make_axes(rows: int, columns: int, width: float, height: float, **options: Any) -> tuple[Figure, list[Axes]]:
    """A figure of `width` x `height` inches with a grid of axes, row by row; `options` are those of `subplots`."""
    figure = Figure(figsize=(width, height), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False, **options)
    return figure, list(grid.flat)


@dataclass(frozen=True)
class Panel:
    """One picture of a figure."""

    title: str
    pixels_3HW: Tensor | None
    """In [0, 1]; None shows a note instead of a picture."""
    note: str = ""
    """Below the picture, or instead of it."""
    frame: str = ""
    """Colour of a frame around the picture; empty: no frame."""


@styled
def picture_grid(panels: Sequence[Panel], columns: int, title: str = "", side: float | None = None) -> Figure:
    """Pictures in rows of `columns`.

    Args:
        panels: row by row.
        columns: pictures in a row; a last row may be shorter.
        title: above all pictures.
        side: width of a picture [inches]; None: as wide as `WIDTH` allows, at most 3.

    Raises:
        ValueError: there are no panels.
    """
    if not panels:
        raise ValueError("there are no pictures to show")
    columns = min(columns, len(panels))
    rows = -(-len(panels) // columns)
    side = side or min(3.0, WIDTH / columns)
    shapes = [panel.pixels_3HW.shape[-2:] for panel in panels if panel.pixels_3HW is not None] or [torch.Size((1, 1))]
    tallest = max(height / width for height, width in shapes)
    lines = max(panel.title.count("\n") + 1 + bool(panel.note and panel.pixels_3HW is not None) for panel in panels)
    figure, axes = make_axes(
        rows, columns, side * columns, (side * tallest + 0.19 * lines) * rows + (0.35 * bool(title))
    )
    for ax in axes[len(panels) :]:
        ax.set_axis_off()
    for ax, panel in zip(axes, panels, strict=False):
        draw_panel(ax, panel)
    if title:
        figure.suptitle(title, x=0.005, ha="left", fontsize=11, fontweight="bold")
    return figure


def draw_panel(ax: Axes, panel: Panel) -> None:
    """Draw one picture into its axes, pixel by pixel, without ticks."""
    hide_axes(ax)
    ax.set_title(shorten_title(panel.title, ax), fontsize=9)
    if panel.pixels_3HW is None:
        ax.set_facecolor("#f2f2f2")
        ax.text(0.5, 0.5, panel.note, ha="center", va="center", transform=ax.transAxes, color="#777777")
        ax.set_aspect("equal")
        return
    ax.imshow(panel.pixels_3HW.detach().float().clamp(0, 1).cpu().permute(1, 2, 0).numpy(), interpolation="nearest")
    ax.set_xlabel(panel.note, fontsize=8, loc="left")
    if panel.frame:
        for spine in ax.spines.values():
            spine.set(visible=True, color=panel.frame, linewidth=2.5)


def hide_axes(ax: Axes) -> None:
    """Remove ticks, grid and spines, as for a picture."""
    ax.set(xticks=[], yticks=[])
    ax.grid(False)
    ax.spines[:].set_visible(False)


def draw_map(
    ax: Axes,
    map_hw: Tensor,
    title: str,
    unit: str,
    limits: tuple[float, float],
    *,
    bar: bool = True,
    colors: Colormap = LIGHT_IS_HIGH,
    beyond: Literal["neither", "max", "both"] = "both",
) -> None:
    """A map of numbers with a colour bar beside it; the map stays as large as pictures next to it.

    Args:
        ax: the axes.
        map_hw: the numbers; NaN stays white.
        title: above it.
        unit: beside the bar.
        limits: lower and upper end of the colour scale.
        bar: whether to draw the bar; several maps with the same limits need only one.
        colors: `LIGHT_IS_HIGH` or `DARK_IS_HIGH`.
        beyond: ends of the scale beyond which there may be numbers; the bar is pointed there.
    """
    hide_axes(ax)
    ax.set_title(shorten_title(title, ax), fontsize=9)
    shown = ax.imshow(map_hw.detach().float().cpu().numpy(), cmap=colors, vmin=limits[0], vmax=limits[1])
    if bar:
        legend = ax.figure.colorbar(shown, cax=ax.inset_axes((1.03, 0.05, 0.035, 0.9)), extend=beyond)
        legend.set_label(unit)
        legend.outline.set_visible(False)


def limits_of(map_hw: Tensor) -> tuple[float, float]:
    """Limits for a map: its first and 99th percentile."""
    low, high = torch.quantile(map_hw.detach().float().flatten().cpu(), torch.tensor([0.01, 0.99])).tolist()
    return low, max(high, low + 1e-3)


def shorten_title(title: str, ax: Axes) -> str:
    """A title that does not overlap the next one: lines that are too long lose their beginning.

    The end says more, as in ablations/sampling/top1/version_0.
    """
    spec = ax.get_subplotspec()
    columns = spec.get_gridspec().ncols if spec is not None else 1
    figure = ax.get_figure(root=True)
    assert figure is not None, "these axes have no figure"
    room = max(14, int(figure.get_figwidth() / columns / LETTER))
    return "\n".join(line if len(line) <= room else f"..{line[2 - room :]}" for line in title.split("\n"))


def colors_of(labels: Sequence[str]) -> Mapping[str, str]:
    """A colour for each label; colours repeat after eight."""
    return {label: COLORS[index % len(COLORS)] for index, label in enumerate(labels)}
