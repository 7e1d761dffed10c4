"""Rotary positions in two dimensions, on a frame that all scales of a picture share.

Knows grids (rows, columns) and the frame's grid. Knows nothing of attention or of what a token means. The layout is
Infinity's (arXiv 2412.04431): channels in pairs (2j, 2j + 1); the first half of the pairs turns with the row, the
second half with the column.

Shape legend: L tokens of all scales, d head channels, H heads, B rows.
"""

from collections.abc import Sequence
from fractions import Fraction
from functools import lru_cache

import torch
from torch import Tensor

Grid = tuple[int, int]
"""Rows and columns of a scale."""
Angles = tuple[Tensor, Tensor]
"""Cosines and sines (L, d/2)."""
KEPT = 64
"""Most layouts that stay in memory."""


def tokens_in(grids: Sequence[Grid]) -> int:
    """Tokens of all scales together."""
    return sum(rows * columns for rows, columns in grids)


def frame_coordinates(grids: Sequence[Grid], frame: Grid) -> Tensor:
    """Row and column (L, 2) of each token on the frame, int64 on the CPU.

    Row i of h lies at i * H / h, rounded, halves to the even neighbour. Fractions make it exact: in float64 one
    published index differs.
    """
    parts = []
    for grid in grids:
        rows, columns = (
            torch.tensor([round(Fraction(index * whole, side)) for index in range(side)], device="cpu")
            for side, whole in zip(grid, frame, strict=True)
        )
        parts.append(torch.cartesian_prod(rows, columns))
    return torch.cat(parts)


def frame_angles(coordinates_L2: Tensor, head_channels: int, theta: float) -> Angles:
    """Cosines and sines (L, d/2) in float32: d/4 frequencies for the row, then as many for the column."""
    exponents = torch.arange(0, head_channels // 2, 2, device=coordinates_L2.device).float() / (head_channels // 2)
    angles = (coordinates_L2[..., None].float() * theta**-exponents).flatten(1)
    return angles.cos(), angles.sin()


def rotate_pairs(x_BLHd: Tensor, angles: Angles) -> Tensor:
    """Turn the pairs of channels (2j, 2j + 1) of each token by its angles (L, d/2), in float32."""
    cos, sin = (part[:, None] for part in angles)  # the same for all heads
    even, odd = x_BLHd.float().unflatten(-1, (-1, 2)).unbind(-1)
    return torch.stack([even * cos - odd * sin, even * sin + odd * cos], dim=-1).flatten(-2)


@lru_cache(maxsize=KEPT)
def cached_angles(
    grids: tuple[Grid, ...], frame: Grid, head_channels: int, theta: float, device: torch.device
) -> Angles:
    """`frame_angles` of a picture's tokens, made once for each list of grids."""
    with torch.inference_mode(False):  # training uses them later
        return frame_angles(frame_coordinates(grids, frame).to(device), head_channels, theta)
