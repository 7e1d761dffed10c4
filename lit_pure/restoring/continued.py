"""Restores photographs by squares that continue their neighbours: where squares overlap, the codes are the same.

Knows the grid of codes of a whole photograph, which square draws which of its cells, and in which order. Pixels are
`rendering.py`'s. Knows no family.

Two neighbours meet in the middle of their overlap. Up to there, the later one is given the codes of the earlier one;
behind it, the earlier one's codes are dropped: next to the edge of its square a model cannot see what comes, and draws
worse. So each cell is drawn by one square for the photograph. A square knows the cells of all squares above it and to
its left. Squares on one diagonal know nothing of each other, and are drawn as one batch, whose size changes no code
but by rounding.

Shape legend: s side of the model's square [px], h w source [px] or cells.
"""

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from lit_pure.config.experiment import ColorFix
from lit_pure.images.geometry import enlarge_padded, enlarger
from lit_pure.images.tiles import Cover, Tile, diagonals
from lit_pure.restoring.contract import CellMap, CodeRestorer, CodeSquare, TileWords
from lit_pure.restoring.photo import PhotoMeter, PhotoProgress, RestoredPhoto
from lit_pure.restoring.rendering import Rendering


def continue_photos(restorer: CodeRestorer, photos: "Sequence[ContinuedPhoto]") -> list[RestoredPhoto]:
    """Restore photographs together: what each can draw next is one batch, so that small ones fill it, too.

    No picture changes by it but by rounding: sums over other batches may differ in their last bit. All photographs are
    in memory, and either all of them have given words or none.
    """
    while open_ := [photo for photo in photos if photo.next_tiles]:
        turns = [(photo, tile) for photo in open_ for tile in photo.next_tiles]
        for start in range(0, len(turns), restorer.restoring.batch):
            some = turns[start : start + restorer.restoring.batch]
            told = [photo.given(tile) for photo, tile in some if photo.given]
            squares = restorer.draw_codes(
                torch.stack([photo.source_of(tile) for photo, tile in some]),
                [photo.name_of(tile) for photo, tile in some],
                torch.stack([photo.grid.known(tile) for photo, tile in some]),
                given=told or None,
                progress=photos[0].meter.add_tokens if len(photos) == 1 else None,
            )
            for photo, group in itertools.groupby(zip(some, squares, strict=True), lambda one: one[0][0]):
                photo.take([(tile, square) for (_, tile), square in group])
    return [photo.finish() for photo in photos]


class ContinuedPhoto:
    """One photograph under way: which squares are next, what they know already, and what is drawn so far."""

    def __init__(
        self,
        restorer: CodeRestorer,
        photo_3hw: Tensor,
        name: str,
        scale: int,
        color_fix: ColorFix,
        progress: PhotoProgress | None = None,
        given: Callable[[Tile], Any] | None = None,
    ) -> None:
        """Arguments are those of `tiled.restore_photo`. Raises MemoryError."""
        self.restorer, self.photo_3hw, self.name, self.scale, self.given = restorer, photo_3hw, name, scale, given
        self.height, self.width = (side * scale for side in photo_3hw.shape[-2:])
        size, restoring = restorer.size, restorer.restoring
        rows, columns = (cell_cover(side, size, restorer.cell, restoring.overlap) for side in (self.height, self.width))
        # Before anything is drawn: it may not fit into memory.
        self.rendering = Rendering(restorer, photo_3hw, scale, rows, columns, color_fix)
        self.grid = CodeGrid(rows, columns)
        self._batches = list(diagonals(rows, columns, restoring.batch))
        self._words = dict[int, TileWords]()
        self._count = sum(map(len, self._batches))
        if progress is not None:
            progress.begin(self.height, self.width, self._count)
        shares = sum(map(self.grid.share, itertools.chain(*self._batches)))
        self.meter = PhotoMeter(shares, restorer.expected_tokens, progress)

    @property
    def next_tiles(self) -> list[Tile]:
        """The squares that can be drawn now, in one batch; none where all are drawn."""
        return self._batches[0] if self._batches else []

    def source_of(self, tile: Tile) -> Tensor:
        """The enlarged photograph (3, s, s) at a square."""
        by, size = enlarger(self.restorer.restoring.round_source), self.restorer.size
        return enlarge_padded(self.photo_3hw, self.scale, tile.top, tile.left, size, size, by)

    def name_of(self, tile: Tile) -> str:
        """What decides the noise of a square."""
        return self.name if self._count == 1 else f"{self.name}/{tile.number}"

    def take(self, drawn: Sequence[tuple[Tile, CodeSquare]]) -> None:
        """Put down squares, the next ones that are still missing."""
        tiles = [tile for tile, _ in drawn]
        self.meter.add_batch([square for _, square in drawn], sum(map(self.grid.share, tiles)))
        for tile, square in drawn:
            self.grid.add(tile, square)
            self._words[tile.number] = _words(tile, square, self.height, self.width, self.restorer.size)
        self._batches[0] = [tile for tile in self._batches[0] if tile not in tiles]
        if not self._batches[0]:
            del self._batches[0]

    def finish(self) -> RestoredPhoto:
        """The photograph, once all squares are drawn."""
        said = [self._words[number] for number in range(self._count)]
        whole = said[0].words if self._count == 1 else self.restorer.words_of(said, self.height, self.width)
        cell = self.restorer.cell
        maps = self.grid.shown_maps(-(-self.height // cell), -(-self.width // cell))
        pixels_3HW = self.rendering.finish(self.grid.codes_hw)
        return RestoredPhoto(pixels_3HW, whole, maps, self.meter.tokens, self.meter.seconds, said)


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
        for before, after in itertools.pairwise(cover.starts)
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
