"""A picture covered by overlapping square tiles, and put together from them again.

Knows positions and weights of tiles, and how a picture grows from the top without ever being whole in floating point.
Knows nothing of what happens to a tile in between.

Suffixes: 3 RGB, H height and W width of the picture [px], n tiles along a side, l extent of a tile [px], h w cells.
"""

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from lit_pure.images.io import to_bytes

ROWS_AT_ONCE = 16
"""Rows of pixels rounded together: rounding needs room of its own."""


@dataclass(frozen=True)
class Cover:
    """One side of a picture, covered by as few tiles as overlap enough, evenly spread from edge to edge."""

    length: int
    """Of the picture's side [px]."""
    size: int
    """Side of a tile [px]."""
    overlap: int
    """The least that neighbours share [px]; they are blended over exactly this, in the middle of what they share."""

    def __post_init__(self) -> None:
        """Raises ValueError where no cover exists."""
        if min(self.length, self.size) < 1 or not 0 <= self.overlap <= self.size // 2:
            raise ValueError(
                f"cannot cover {self.length} px with tiles of {self.size} px that overlap by {self.overlap}; "
                "lengths must be at least 1, the overlap at most half a tile"
            )

    @property
    def extent(self) -> int:
        """What a tile covers [px]: its side, or the whole picture where that is smaller."""
        return min(self.size, self.length)

    @cached_property
    def starts(self) -> list[int]:
        """Where each tile begins [px]; the last one ends with the picture."""
        travel = self.length - self.extent
        if not travel:
            return [0]
        count = math.ceil((self.length - self.overlap) / (self.size - self.overlap))
        # Rounding down keeps all distances at most size - overlap, as their mean is.
        return [index * travel // (count - 1) for index in range(count)]

    @cached_property
    def weights_nl(self) -> Tensor:
        """How much of each pixel comes from each tile: float32 in [0, 1], one in total at every pixel.

        A tile fades in where its predecessor fades out, along a raised cosine. Each weight is the difference of two
        such steps, so the sum is one however many tiles meet in a pixel.
        """
        starts_n1 = torch.tensor(self.starts, dtype=torch.float64)[:, None]
        centers_nl = starts_n1 + torch.arange(self.extent) + 0.5
        middles_n1 = (starts_n1[:-1] + starts_n1[1:] + self.size) / 2
        appears_nl, stays_nl = torch.ones_like(centers_nl), torch.ones_like(centers_nl)
        appears_nl[1:] = self._step(centers_nl[1:] - middles_n1)
        stays_nl[:-1] = 1 - self._step(centers_nl[:-1] - middles_n1)
        return (appears_nl + stays_nl - 1).float()

    def _step(self, distance_nl: Tensor) -> Tensor:
        """From 0 to 1 over `overlap` px around distance 0; at once where tiles need not overlap."""
        share_nl = (distance_nl / max(self.overlap, 1e-6) + 0.5).clamp(0, 1)
        return (1 - torch.cos(math.pi * share_nl)) / 2


@dataclass(frozen=True)
class Tile:
    """The place of one tile."""

    number: int
    """Row by row, from 0."""
    row: int
    column: int
    top: int
    """Of its first pixel in the picture."""
    left: int


def batches(rows: Cover, columns: Cover, most: int) -> Iterator[list[Tile]]:
    """All tiles, row by row from the top, at most `most` at once."""
    places = itertools.product(enumerate(rows.starts), enumerate(columns.starts))
    tiles = [Tile(number, row, column, top, left) for number, ((row, top), (column, left)) in enumerate(places)]
    yield from (tiles[start : start + most] for start in range(0, len(tiles), most))


class Canvas:
    """Blends tiles into a picture of 8 bits; only one row of tiles exists in floating point."""

    def __init__(self, rows: Cover, columns: Cover) -> None:
        """Raises MemoryError where the picture does not fit."""
        self.rows, self.columns = rows, columns
        # By numpy: torch's own error for this is a RuntimeError without a name.
        self._picture_HW3 = np.empty((rows.length, columns.length, 3), np.uint8)
        self._strip_3lW = torch.zeros(3, rows.extent, columns.length)
        self._row = 0

    def add(self, tile: Tile, pixels_3ll: Tensor) -> None:
        """Put down what a tile covers, in [0, 1]. Tiles come in the order of `batches`."""
        if tile.row != self._row:
            self._finish_rows(self.rows.starts[tile.row])
            self._row = tile.row
        weight_ll = self.rows.weights_nl[tile.row][:, None] * self.columns.weights_nl[tile.column]
        self._strip_3lW[:, :, tile.left : tile.left + self.columns.extent] += pixels_3ll.float().cpu() * weight_ll

    def finish(self) -> Tensor:
        """The picture, uint8 (3, H, W), after the last tile."""
        self._finish_rows(self.rows.length)
        return torch.from_numpy(self._picture_HW3).permute(2, 0, 1)

    def _finish_rows(self, stop: int) -> None:
        """Round what lies above `stop`, where no tile will be added any more, and move the strip down to it."""
        top = self.rows.starts[self._row]
        for first in range(top, stop, ROWS_AT_ONCE):
            some_3lW = self._strip_3lW[:, first - top : min(first + ROWS_AT_ONCE, stop) - top]
            self._picture_HW3[first : first + some_3lW.shape[1]] = to_bytes(some_3lW).permute(1, 2, 0).numpy()
        kept_3lW = self._strip_3lW[:, stop - top :].clone()
        self._strip_3lW.zero_()
        self._strip_3lW[:, : kept_3lW.shape[1]] = kept_3lW


class MeanMap:
    """One map from maps of tiles: their mean where they overlap."""

    def __init__(self, height: int, width: int) -> None:
        self._total_HW, self._count_HW = torch.zeros(height, width), torch.zeros(height, width)

    def add(self, top: int, left: int, map_hw: Tensor) -> None:
        """Put down a tile's map, its first cell at (top, left)."""
        place = (slice(top, top + map_hw.shape[0]), slice(left, left + map_hw.shape[1]))
        self._total_HW[place] += map_hw.cpu()
        self._count_HW[place] += 1

    def finish(self) -> Tensor:
        """The map (H, W); NaN where no tile was."""
        return self._total_HW / self._count_HW
