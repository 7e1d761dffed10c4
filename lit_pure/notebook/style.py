"""How the figures of the notebooks look: one style, pictures in rows, colours of runs and of numbers.

Knows matplotlib and pixels in [0, 1]. Knows nothing of what is shown. A figure never enters pyplot's list of open
figures: it is a value like any other, which a notebook shows, `savefig` writes, and nobody has to close.

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
"""Told apart also by those who see red and green alike (Okabe and Ito 2008, without yellow and with two more)."""
FAINT, GREY, INK, HIGHLIGHT = "#c9c9c9", "#6b6b6b", "#222222", "#e6194b"
WIDTH = 11.0
"""Of a whole figure [inches]: what a notebook's column and a slide hold."""
DPI = 110
LETTER = 0.075
"""Mean width of a letter of a picture's title [inches]."""
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
    """Let a function draw its figure in this style, whatever the notebook's own settings are."""

    @functools.wraps(function)
    def drawing(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Figure:
        with matplotlib.rc_context(STYLE):
            return function(*args, **kwargs)

    return drawing


def axes(rows: int, columns: int, width: float, height: float, **options: Any) -> tuple[Figure, list[Axes]]:
    """A figure of `width` x `height` inches with a grid of axes, row by row; `options` are those of `subplots`."""
    figure = Figure(figsize=(width, height), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False, **options)
    return figure, list(grid.flat)


@dataclass(frozen=True)
class Panel:
    """One picture of a figure."""

    title: str
    pixels_3HW: Tensor | None
    """In [0, 1]; None leaves a note in place of the picture."""
    note: str = ""
    """Below the picture, or in its place."""
    frame: str = ""
    """Colour of a frame around it; empty draws none."""


@styled
def sheet(panels: Sequence[Panel], columns: int, title: str = "", side: float | None = None) -> Figure:
    """Pictures in rows of `columns`.

    Args:
        panels: row by row.
        columns: pictures in a row; a last row may be shorter.
        title: above all of them.
        side: width of a picture [inches]; without it as wide as `WIDTH` allows, at most 3.

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
    figure, places = axes(rows, columns, side * columns, (side * tallest + 0.19 * lines) * rows + (0.35 * bool(title)))
    for place in places[len(panels) :]:
        place.set_axis_off()
    for place, panel in zip(places, panels, strict=False):
        draw_panel(place, panel)
    if title:
        figure.suptitle(title, x=0.005, ha="left", fontsize=11, fontweight="bold")
    return figure


def draw_panel(place: Axes, panel: Panel) -> None:
    """Put one picture into its axes, pixel by pixel, without ticks."""
    bare(place)
    place.set_title(fitting(panel.title, place), fontsize=9)
    if panel.pixels_3HW is None:
        place.set_facecolor("#f2f2f2")
        place.text(0.5, 0.5, panel.note, ha="center", va="center", transform=place.transAxes, color="#777777")
        place.set_aspect("equal")
        return
    place.imshow(panel.pixels_3HW.detach().float().clamp(0, 1).cpu().permute(1, 2, 0).numpy(), interpolation="nearest")
    place.set_xlabel(panel.note, fontsize=8, loc="left")
    if panel.frame:
        for spine in place.spines.values():
            spine.set(visible=True, color=panel.frame, linewidth=2.5)


def bare(place: Axes) -> None:
    """No ticks, grid or lines: what is in the axes is a picture."""
    place.set(xticks=[], yticks=[])
    place.grid(False)
    place.spines[:].set_visible(False)


def draw_map(
    place: Axes,
    map_hw: Tensor,
    title: str,
    unit: str,
    limits: tuple[float, float],
    *,
    bar: bool = True,
    colors: Colormap = LIGHT_IS_HIGH,
    beyond: Literal["max", "both"] = "both",
) -> None:
    """A map of numbers with its colour bar, which takes nothing of the map's room: pictures beside it are as large.

    Args:
        place: where.
        map_hw: the numbers; NaN is left white.
        title: above it.
        unit: beside the bar.
        limits: the numbers at the ends of the bar.
        bar: whether to draw the bar; one serves several maps of the same limits.
        colors: `LIGHT_IS_HIGH` or `DARK_IS_HIGH`.
        beyond: at which ends there may be numbers outside the limits; the bar has a tip there.
    """
    bare(place)
    place.set_title(fitting(title, place), fontsize=9)
    shown = place.imshow(map_hw.detach().float().cpu().numpy(), cmap=colors, vmin=limits[0], vmax=limits[1])
    if bar:
        legend = place.figure.colorbar(shown, cax=place.inset_axes((1.03, 0.05, 0.035, 0.9)), extend=beyond)
        legend.set_label(unit)
        legend.outline.set_visible(False)


def range_of(map_hw: Tensor) -> tuple[float, float]:
    """Limits that show a map's own differences: all but its outermost hundredths."""
    low, high = torch.quantile(map_hw.detach().float().flatten().cpu(), torch.tensor([0.01, 0.99])).tolist()
    return low, max(high, low + 1e-3)


def fitting(title: str, place: Axes) -> str:
    """A title that does not run into the next one: of lines that are too long, the beginning is left out.

    The end says more, as in ablations/sampling/top1/version_0.
    """
    spec = place.get_subplotspec()
    columns = spec.get_gridspec().ncols if spec is not None else 1
    figure = place.get_figure(root=True)
    assert figure is not None, "axes of no figure"
    room = max(14, int(figure.get_figwidth() / columns / LETTER))
    return "\n".join(line if len(line) <= room else f"..{line[2 - room :]}" for line in title.split("\n"))


def color_of(labels: Sequence[str]) -> Mapping[str, str]:
    """A colour for each label; the ninth is as the first."""
    return {label: COLORS[index % len(COLORS)] for index, label in enumerate(labels)}
