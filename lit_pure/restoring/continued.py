"""Restores photographs by squares that continue their neighbours: where squares overlap, the codes are the same.

Knows the grid of codes of a whole photograph, which square draws which of its cells, and in which order. Pixels are
`rendering.py`'s. Knows no family.

Two neighbours meet in the middle of their overlap. Up to there, the later one is given the codes of the earlier one;
behind it, the earlier one's codes are dropped: next to the edge of its square a model cannot see what comes, and draws
worse. So each cell is drawn by one square for the photograph. A square knows the cells of all squares above it and to
its left. Squares on one diagonal know nothing of each other, and are drawn as one batch, whose size changes no code.

Shape legend: s side of the model's square [px], h w source [px] or cells.
"""

import math
from collections.abc import Callable
from dataclasses import replace
from itertools import chain, pairwise
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
    grid = CodeGrid(rows, columns)
    batches, words = list(diagonals(rows, columns, restoring.batch)), dict[int, TileWords]()
    count = sum(map(len, batches))
    if progress is not None:
        progress.begin(height, width, count)
    meter = PhotoMeter(sum(map(grid.share, chain(*batches))), restorer.expected_tokens, progress)
    for tiles in batches:
        squares = restorer.draw_codes(
            torch.stack([enlarge_padded(photo_3hw, scale, tile.top, tile.left, size, size) for tile in tiles]),
            [name if count == 1 else f"{name}/{tile.number}" for tile in tiles],
            torch.stack([grid.known(tile) for tile in tiles]),
            given=[given(tile) for tile in tiles] if given else None,
            progress=meter.add_tokens,
        )
        meter.add_batch(squares, sum(map(grid.share, tiles)))
        for tile, square in zip(tiles, squares, strict=True):
            grid.add(tile, square)
            words[tile.number] = _words(tile, square, height, width, size)
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


def kept_cells(cover: Cover) -> list[slice]:
    """For each square along a side the cells that the photograph has from it, counted from its own first one.

    Squares meet in the middle of their overlap, or half a cell behind it.
    """
    meets = [
        after + -(-(before + cover.size - after) // (2 * cover.step)) * cover.step
        for before, after in pairwise(cover.starts)
    ]
    ends = zip(cover.starts, [0, *meets], [*meets, cover.length], strict=True)
    return [slice((begin - start) // cover.step, (end - start) // cover.step) for start, begin, end in ends]


class CodeGrid:
    """The codes of a photograph so far, and the maps of the draws they come from."""

    def __init__(self, rows: Cover, columns: Cover) -> None:
        self.cell, self.side = rows.step, rows.size // rows.step
        self.codes_hw = torch.full((rows.length // self.cell, columns.length // self.cell), -1)
        """-1 where no code is drawn yet."""
        self.maps: dict[str, CellMap] = {}
        self._rows, self._columns = kept_cells(rows), kept_cells(columns)

    def known(self, tile: Tile) -> Tensor:
        """What a square (h, w) need not draw: the codes of earlier ones; -1 elsewhere.

        Rows of which the photograph keeps nothing have any code: behind all others, they take no time then.
        """
        rows, columns = self._rows[tile.row], self._columns[tile.column]
        codes_hw, known_hw = self._of_square(self.codes_hw, tile), torch.full((self.side, self.side), -1)
        known_hw[: rows.start, : columns.stop] = codes_hw[: rows.start, : columns.stop]
        known_hw[: rows.stop, : columns.start] = codes_hw[: rows.stop, : columns.start]
        known_hw[rows.stop :] = 0
        return known_hw

    def share(self, tile: Tile) -> float:
        """The share of a square's cells that it draws."""
        rows, columns = self._rows[tile.row], self._columns[tile.column]
        known = rows.start * columns.stop + (rows.stop - rows.start) * columns.start
        return (rows.stop * self.side - known) / self.side**2

    def add(self, tile: Tile, square: CodeSquare) -> None:
        """Put down the cells that the photograph has from a square."""
        kept = self._rows[tile.row], self._columns[tile.column]
        self._of_square(self.codes_hw, tile)[kept] = square.codes_hw[kept].to(self.codes_hw)
        for name, cells in square.maps.items():
            if name not in self.maps:
                self.maps[name] = replace(cells, values_hw=torch.full(self.codes_hw.shape, math.nan))
            whole_hw = self.maps[name].values_hw
            self._of_square(whole_hw, tile)[kept] = cells.values_hw[kept].to(whole_hw)

    def shown_maps(self, height: int, width: int) -> dict[str, CellMap]:
        """The maps of the upper left part of (height, width) cells, which is the photograph."""
        return {name: replace(one, values_hw=one.values_hw[:height, :width]) for name, one in self.maps.items()}

    def _of_square(self, whole_hw: Tensor, tile: Tile) -> Tensor:
        top, left = tile.top // self.cell, tile.left // self.cell
        return whole_hw[top : top + self.side, left : left + self.side]


def _words(tile: Tile, square: CodeSquare, height: int, width: int, size: int) -> TileWords:
    """The words of a square, with the place of its part within the photograph (height, width) [px]."""
    shown = min(size, height - tile.top), min(size, width - tile.left)
    return TileWords(tile.top, tile.left, *shown, square.words)
