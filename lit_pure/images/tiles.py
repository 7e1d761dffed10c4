"""Covers a picture with overlapping square tiles, and blends tiles into a picture.

Knows positions and weights of tiles, and how to complete a picture from the top while only one row of tiles is in
floating point. Knows nothing of what happens to a tile in between.

Suffixes: 3 RGB, H height and W width of the picture [px], n tiles along a side, l extent of a tile [px], h w cells.
"""

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from lit_pure.images.io import to_bytes
from lit_pure.images.large import empty_picture

ROWS_AT_ONCE = 16
"""Rows of pixels rounded at once: rounding needs extra memory."""


@dataclass(frozen=True)
class Cover:
    """One side of a picture, covered by the fewest tiles that overlap enough, evenly spread from edge to edge."""

    length: int
    """Of the picture's side [px]."""
    size: int
    """Side of a tile [px]."""
    overlap: int
    """Least overlap of neighbours [px]; they are blended over exactly this length, in the middle of their overlap."""
    step: int = 1
    """Every tile starts at a multiple of it [px]; it divides the three lengths."""

    def __post_init__(self) -> None:
        """Raises ValueError where no cover exists."""
        if min(self.length, self.size) < 1 or not 0 <= self.overlap <= self.size // 2:
            raise ValueError(
                f"cannot cover {self.length} px with tiles of {self.size} px that overlap by {self.overlap}; "
                "lengths must be at least 1, the overlap at most half a tile"
            )
        if any(number % self.step for number in (self.length, self.size, self.overlap)):
            raise ValueError(f"{self.length}, {self.size} and {self.overlap} px must be multiples of {self.step} px")

    @property
    def extent(self) -> int:
        """Length that a tile covers [px]: its side, or the whole picture where that is smaller."""
        return min(self.size, self.length)

    @cached_property
    def starts(self) -> list[int]:
        """First pixel of each tile; the last tile ends with the picture."""
        travel = (self.length - self.extent) // self.step
        if not travel:
            return [0]
        count = math.ceil((self.length - self.overlap) / (self.size - self.overlap))
        # Rounding down keeps all distances at most size - overlap, as their mean is.
        return [index * travel // (count - 1) * self.step for index in range(count)]

    @cached_property
    def weights_nl(self) -> Tensor:
        """Weight of each tile at each of its pixels: float32 in [0, 1], with sum one at every pixel.

        A tile fades in where its predecessor fades out, along a raised cosine. Each weight is the difference of two
        such steps, so the sum is one for any number of overlapping tiles.
        """
        starts_n1 = torch.tensor(self.starts, dtype=torch.float64)[:, None]
        centers_nl = starts_n1 + torch.arange(self.extent) + 0.5
        middles_n1 = (starts_n1[:-1] + starts_n1[1:] + self.size) / 2
        appears_nl, stays_nl = torch.ones_like(centers_nl), torch.ones_like(centers_nl)
        appears_nl[1:] = self._step(centers_nl[1:] - middles_n1)
        stays_nl[:-1] = 1 - self._step(centers_nl[:-1] - middles_n1)
        return (appears_nl + stays_nl - 1).float()

    def _step(self, distance_nl: Tensor) -> Tensor:
        """From 0 to 1 over `overlap` px around distance 0; a jump where the overlap is 0."""
        share_nl = (distance_nl / max(self.overlap, 1e-6) + 0.5).clamp(0, 1)
        return (1 - torch.cos(math.pi * share_nl)) / 2


@dataclass(frozen=True)
class Tile:
    """The position of one tile."""

    number: int
    """Counts row by row from 0."""
    row: int
    column: int
    top: int
    """First row of pixels; `left` is the first column."""
    left: int


def batches(rows: Cover, columns: Cover, most: int) -> Iterator[list[Tile]]:
    """All tiles, row by row from the top, in lists of at most `most`."""
    yield from _cut(_tiles(rows, columns), most)


def diagonals(rows: Cover, columns: Cover, most: int) -> Iterator[list[Tile]]:
    """All tiles, each after those above it and to its left, in lists of at most `most` that do not wait for each other.

    These are the diagonals that rise to the right: a tile (row, column) waits for row + column lists at least.
    """
    tiles = sorted(_tiles(rows, columns), key=lambda tile: (tile.row + tile.column, tile.number))
    for _, one in itertools.groupby(tiles, key=lambda tile: tile.row + tile.column):
        yield from _cut(list(one), most)


def _tiles(rows: Cover, columns: Cover) -> list[Tile]:
    """All tiles, row by row from the top."""
    places = itertools.product(enumerate(rows.starts), enumerate(columns.starts))
    return [Tile(number, row, column, top, left) for number, ((row, top), (column, left)) in enumerate(places)]


def _cut(tiles: list[Tile], most: int) -> Iterator[list[Tile]]:
    yield from (tiles[start : start + most] for start in range(0, len(tiles), most))


class Canvas:
    """Blends tiles into an 8-bit picture; only one row of tiles is in floating point."""

    def __init__(self, rows: Cover, columns: Cover) -> None:
        """Raises MemoryError where the picture does not fit into memory."""
        self.rows, self.columns = rows, columns
        self._picture_HW3 = empty_picture(rows.length, columns.length)
        self._strip_3lW = torch.zeros(3, rows.extent, columns.length)
        self._row = 0

    def add(self, tile: Tile, pixels_3ll: Tensor) -> None:
        """Blend in the pixels of a tile, in [0, 1]. Tiles must come in the order of `batches`."""
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
        """Round the rows above `stop`, which no later tile covers, and move the strip down to `stop`."""
        top = self.rows.starts[self._row]
        for first in range(top, stop, ROWS_AT_ONCE):
            some_3lW = self._strip_3lW[:, first - top : min(first + ROWS_AT_ONCE, stop) - top]
            self._picture_HW3[first : first + some_3lW.shape[1]] = to_bytes(some_3lW).permute(1, 2, 0).numpy()
        kept_3lW = self._strip_3lW[:, stop - top :].clone()
        self._strip_3lW.zero_()
        self._strip_3lW[:, : kept_3lW.shape[1]] = kept_3lW


class MeanMap:
    """Combines maps of tiles: their mean where they overlap."""

    def __init__(self, height: int, width: int) -> None:
        self._total_HW, self._count_HW = torch.zeros(height, width), torch.zeros(height, width)

    def add(self, top: int, left: int, map_hw: Tensor) -> None:
        """Add the map of a tile, whose first cell is at (top, left)."""
        place = (slice(top, top + map_hw.shape[0]), slice(left, left + map_hw.shape[1]))
        self._total_HW[place] += map_hw.cpu()
        self._count_HW[place] += 1

    def finish(self) -> Tensor:
        """The map (H, W); NaN where no tile was added."""
        return self._total_HW / self._count_HW
