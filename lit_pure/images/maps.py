"""Maps of numbers beside their pictures, with a legend.

Knows heat maps, grids and how to draw a scale. Knows nothing of what the numbers mean.

Shape legend: B pictures, H W their size [px], h w sides of the maps, 3 RGB.
"""

import math
from collections.abc import Mapping

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor
from torch.nn.functional import interpolate, pad

from lit_pure.images.color import heatmap
from lit_pure.images.grid import HEADER, labelled_grid
from lit_pure.images.io import from_bytes, to_bytes

BAR = 12
"""Width of the legend's bar [px]."""
LEGEND = 88
"""Width of the legend [px]."""
LINE = 11
"""Height of a number beside the bar [px]."""
MOST_DIGITS = 4
"""Most decimals."""
READABLE = 512
"""Height of a picture that is looked at whole and whose legend can still be read [px]."""
PER_TICK = 32
"""Least distance between numbers beside the bar [px]."""


def dark_map(map_hw: Tensor, low: float, high: float) -> Tensor:
    """A map as a picture (3, h, w), darker for higher numbers (paper, figure 3). Errors as in `heatmap`."""
    return heatmap(-map_hw, -high, -low)


def maps_beside(
    columns: Mapping[str, Tensor], label: str, maps_Bhw: Tensor, unit: str, limits: tuple[float, float] | None = None
) -> Tensor:
    """Pictures with a column of maps, in which each number is as large as its part of the picture.

    Args:
        columns: label -> (B, 3, H, W) in [0, 1]; at least one.
        label: above the maps.
        maps_Bhw: one map per picture; NaN is drawn grey.
        unit: of the numbers.
        limits: numbers of the lightest and the darkest colour (default: lowest and highest number of all maps).

    Returns:
        (3, H', W') in [0, 1], on the CPU.

    Raises:
        ValueError: no columns, no maps, or not one map per picture.
    """
    if not columns or len(maps_Bhw) != len(first_B3HW := next(iter(columns.values()))) or not len(maps_Bhw):
        found = [len(pictures) for pictures in columns.values()]
        raise ValueError(f"cannot lay out {len(maps_Bhw)} maps beside columns of {found} pictures")
    maps_Bhw, (height, width) = maps_Bhw.detach().float().cpu(), first_B3HW.shape[-2:]
    low, high = limits or _range(maps_Bhw)
    drawn_B3hw = torch.stack([dark_map(map_hw, low, high) for map_hw in maps_Bhw])
    grid = labelled_grid({**columns, label: interpolate(drawn_B3hw, (height, width), mode="nearest")})
    scale = legend(low, high, unit, height)
    return torch.cat([grid, pad(scale, (0, 0, HEADER, grid.shape[1] - HEADER - height))], dim=2)


def large_legend(low: float, high: float, unit: str, height: int) -> Tensor:
    """The legend of a picture alone, uint8 (3, height, W), which grows with it."""
    times = max(1, height // READABLE)
    small = to_bytes(legend(low, high, unit, -(-height // times)))
    return small.repeat_interleave(times, 1)[:, :height].repeat_interleave(times, 2)


def _range(maps_Bhw: Tensor) -> tuple[float, float]:
    """Lowest and highest finite number; a default range where fewer than two differ."""
    finite = maps_Bhw[maps_Bhw.isfinite()]
    low, high = (float(finite.min()), float(finite.max())) if len(finite) else (0.0, 1.0)
    return (low, high) if low < high else (low - 0.5, high + 0.5)


def legend(low: float, high: float, unit: str, height: int) -> Tensor:
    """(3, height, LEGEND) in [0, 1]: a bar from `high` at the top to `low` at the bottom, with numbers."""
    bar_H1 = torch.linspace(high, low, height)[:, None]
    strip = Image.new("RGB", (LEGEND, height))
    draw, ticks = ImageDraw.Draw(strip), max(2, height // PER_TICK + 1)
    digits = min(max(math.ceil(-math.log10((high - low) / (ticks - 1))), 1), MOST_DIGITS)  # neighbours differ
    for tick in range(ticks):
        share = tick / (ticks - 1)
        middle = share * (height - 1)
        draw.line([(2 + BAR, round(middle)), (5 + BAR, round(middle))], fill="white")
        words = f"{high + share * (low - high):.{digits}f}" + ("" if tick else f" {unit}")
        draw.text((8 + BAR, min(max(middle - LINE / 2, -1), height - LINE)), words, fill="white")
    drawn = from_bytes(torch.from_numpy(np.array(strip)).permute(2, 0, 1))
    drawn[:, :, 2 : 2 + BAR] = dark_map(bar_H1, low, high).expand(-1, -1, BAR)
    return drawn
