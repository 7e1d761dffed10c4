"""Restores photographs by squares that continue their neighbours: where squares overlap, the codes are the same.

Knows the grid of codes of a whole photograph, which square draws which of its cells, and in which order. Pixels are
`rendering.py`'s. Knows no family.

A cell belongs to the first square that covers it, row by row from the top. So a square knows its upper rows from the
square above, which has the same columns, and its left columns from the one to its left. Squares on one diagonal know
nothing of each other, and are drawn as one batch. What is drawn does not depend on how many these are.

Shape legend: s side of the model's square [px], h w source [px] or cells.
"""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from lit_pure.config.experiment import ColorFix
from lit_pure.images.geometry import enlarge_padded
from lit_pure.images.tiles import Cover, Tile, diagonals
from lit_pure.restoring.contract import CellMap, CodeRestorer, CodeSquare, TileWords
from lit_pure.restoring.photo import PhotoMeter, PhotoProgress, RestoredPhoto
from lit_pure.restoring.rendering import Rendering


def continue_photo(
    restorer: CodeRestorer,
    photo_3hw: Tensor,
    name: str,
    scale: int,
    color_fix: ColorFix,
    progress: PhotoProgress | None = None,
    given: Callable[[Tile], Any] | None = None,
) -> RestoredPhoto:
    """Restore one photograph of any size; arguments and errors are those of `tiled.restore_photo`."""
    size, cell, restoring = restorer.size, restorer.cell, restorer.restoring
    height, width = (side * scale for side in photo_3hw.shape[-2:])
    rows, columns = (cell_cover(side, size, cell, restoring.overlap) for side in (height, width))
    # Before anything is drawn: it may not fit into memory.
    rendering = Rendering(restorer, photo_3hw, scale, rows, columns, color_fix)
    grid = CodeGrid(rows, columns, cell)
    count, words = len(rows.starts) * len(columns.starts), dict[int, TileWords]()
    meter = PhotoMeter(grid.cells / grid.of_square, restorer.expected_tokens, progress)
    for tiles in diagonals(rows, columns, restoring.batch):
        batch = restorer.draw_codes(
            torch.stack([enlarge_padded(photo_3hw, scale, tile.top, tile.left, size, size) for tile in tiles]),
            [name if count == 1 else f"{name}/{tile.number}" for tile in tiles],
            torch.stack([grid.known(tile) for tile in tiles]),
            given=[given(tile) for tile in tiles] if given else None,
            progress=meter.add_tokens,
        )
        drawn = sum(grid.add(tile, square) for tile, square in zip(tiles, batch, strict=True))
        meter.add_batch(batch, drawn / grid.of_square)
        words |= {
            tile.number: _words(tile, square, height, width, size) for tile, square in zip(tiles, batch, strict=True)
        }
    said = [words[number] for number in range(count)]
    whole = said[0].words if count == 1 else restorer.words_of(said, height, width)
    maps = grid.shown_maps(-(-height // cell), -(-width // cell))
    return RestoredPhoto(rendering.finish(grid.codes_hw), whole, maps, meter.tokens, meter.seconds, said)


def cell_cover(length: int, size: int, cell: int, overlap: float) -> Cover:
    """One side of a photograph, `length` px, covered by squares of `size` px that lie on the grid of cells.

    The side ends with a whole cell, and is at least a square long: what a square draws beyond it is kept, too, so that
    its neighbours agree with it. Squares overlap by the share `overlap` at least, and by a cell.
    """
    least = min(max(1, math.ceil(size * overlap / cell)), size // 2 // cell)
    return Cover(max(-(-length // cell) * cell, size), size, least * cell, cell)


class CodeGrid:
    """The codes of a photograph so far, and the maps of the draws they come from."""

    def __init__(self, rows: Cover, columns: Cover, cell: int) -> None:
        self.cell, self.of_square = cell, (rows.size // cell) * (columns.size // cell)
        self.codes_hw = torch.full((rows.length // cell, columns.length // cell), -1)
        """-1 where no code is drawn yet."""
        self.maps: dict[str, CellMap] = {}
        self._side = rows.size // cell

    @property
    def cells(self) -> int:
        """Of the whole grid; each is drawn once."""
        return self.codes_hw.numel()

    def known(self, tile: Tile) -> Tensor:
        """The codes (h, w) of a square that are drawn already, -1 elsewhere."""
        return self.codes_hw[self._place(tile)].clone()

    def add(self, tile: Tile, square: CodeSquare) -> int:
        """Put down what a square drew; returns the number of cells that were not drawn before."""
        place = self._place(tile)
        new_hw = self.codes_hw[place] < 0
        self.codes_hw[place][new_hw] = square.codes_hw.cpu()[new_hw].to(self.codes_hw)
        for name, cells in square.maps.items():
            values_hw = cells.values_hw.cpu()
            if name not in self.maps:
                self.maps[name] = replace(cells, values_hw=torch.full(self.codes_hw.shape, math.nan))
            self.maps[name].values_hw[place][new_hw] = values_hw[new_hw].float()
        return int(new_hw.sum())

    def shown_maps(self, height: int, width: int) -> dict[str, CellMap]:
        """The maps of the upper left part of (height, width) cells, which is the photograph."""
        return {name: replace(one, values_hw=one.values_hw[:height, :width]) for name, one in self.maps.items()}

    def _place(self, tile: Tile) -> tuple[slice, slice]:
        top, left = tile.top // self.cell, tile.left // self.cell
        return slice(top, top + self._side), slice(left, left + self._side)


def _words(tile: Tile, square: CodeSquare, height: int, width: int, size: int) -> TileWords:
    """The words of a square, with the place of its part within the photograph (height, width) [px]."""
    shown = min(size, height - tile.top), min(size, width - tile.left)
    return TileWords(tile.top, tile.left, *shown, square.words)
