"""Renders the codes of a whole photograph as one picture, in parts that fit into memory.

Knows how far around a part its pixels and colours depend on others, and so how much more to render than is kept: the
parts are exactly the whole. Where a renderer looks at everything at once (norms, attention), the codes are rendered in
the model's squares, whose pixels are blended. Knows nothing of how codes are drawn, and no family.

Shape legend: B squares, s side of the model's square [px], h w source [px] or cells, H W restored picture [px], P Q
part of it [px].
"""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from lit_pure.config.experiment import ColorFix, RestoringConfig
from lit_pure.images.colorfix import Moments, adain, fix_colors, wavelet_reach
from lit_pure.images.geometry import Enlarge, enlarge_padded, enlarge_part, enlarger, pad_to_square, unpad
from lit_pure.images.io import to_bytes
from lit_pure.images.large import empty_picture
from lit_pure.images.tiles import Canvas, Cover, Tile, batches
from lit_pure.restoring.contract import CodeRestorer

PART = 512
"""Side of the parts that are rendered at once [px], without what is rendered around them."""


@dataclass(frozen=True)
class Span:
    """One side of a part [px]: what is kept of it, and what is rendered for that."""

    start: int
    stop: int
    first: int
    """Where the colours that `start` to `stop` depend on begin; `last` is behind their end."""
    last: int
    cells: slice
    """The cells that these depend on."""

    @property
    def kept(self) -> slice:
        """What is kept, counted from `first`."""
        return slice(self.start - self.first, self.stop - self.first)


def spans(length: int, grid: int, cell: int, context: int, reach: int, part: int) -> Iterator[Span]:
    """One side of a picture of `length` px and `grid` cells, cut into parts.

    Pixels depend on `context` cells around theirs, and fixed colours on the colours `reach` px around.
    """
    for start in range(0, length, part):
        stop = min(start + part, length)
        first, last = max(0, start - reach), min(length, stop + reach)
        cells = slice(max(0, first // cell - context), min(grid, -(-last // cell) + context))
        yield Span(start, stop, first, last, cells)


def fix_squares(
    made_B3ss: Tensor, enlarged_B3ss: Tensor, shown: tuple[int, int], color_fix: ColorFix, restoring: RestoringConfig
) -> Tensor:
    """What is shown (height, width) [px] of squares, with its colours; what pads a picture has no say in them."""
    made_B3ll, enlarged_B3ll = unpad(made_B3ss, *shown), unpad(enlarged_B3ss, *shown)
    return fix_colors(made_B3ll, enlarged_B3ll, color_fix, restoring.wavelet_levels)


class Rendering:
    """The picture of one photograph, once its codes are known."""

    def __init__(
        self,
        restorer: CodeRestorer,
        photo_3hw: Tensor,
        scale: int,
        rows: Cover,
        columns: Cover,
        color_fix: ColorFix,
    ) -> None:
        """`rows` and `columns`: the grid of codes, in squares of the model. Raises MemoryError if memory is short."""
        self.restorer, self.photo_3hw, self.scale, self.color_fix = restorer, photo_3hw, scale, color_fix
        self.rows, self.columns = rows, columns
        self.height, self.width = (side * scale for side in photo_3hw.shape[-2:])
        self._canvas = Canvas(rows, columns) if restorer.context is None else None
        self._picture_HW3 = empty_picture(0 if self._canvas else self.height, self.width)

    def finish(self, codes_hw: Tensor) -> Tensor:
        """The picture, uint8 (3, H, W), of all codes."""
        if self._canvas is not None:
            return self._by_squares(codes_hw, self._canvas)
        context = self.restorer.context
        assert context is not None
        return self._by_parts(codes_hw, context)

    def _by_squares(self, codes_hw: Tensor, canvas: Canvas) -> Tensor:
        """Blended squares of the same codes."""
        size, cell = self.restorer.size, self.restorer.cell
        side = size // cell
        for tiles in batches(self.rows, self.columns, self.restorer.restoring.batch):
            corners = [(tile.top // cell, tile.left // cell) for tile in tiles]
            codes_Bhw = torch.stack([codes_hw[top : top + side, left : left + side] for top, left in corners])
            enlarged_B3ss = torch.stack(
                [enlarge_padded(self.photo_3hw, self.scale, one.top, one.left, size, size, self._by) for one in tiles]
            )
            made_B3ss = self._render(codes_Bhw, enlarged_B3ss)
            for tile, made_3ss, enlarged_3ss in zip(tiles, made_B3ss, enlarged_B3ss, strict=True):
                canvas.add(tile, self._fix_square(tile, made_3ss, enlarged_3ss))
        return canvas.finish()[:, : self.height, : self.width]

    def _fix_square(self, tile: Tile, made_3ss: Tensor, enlarged_3ss: Tensor) -> Tensor:
        """A square with its colours; what lies beyond the photograph has no say in them."""
        size = self.restorer.size
        shown = min(size, self.height - tile.top), min(size, self.width - tile.left)
        fixed_13PQ = fix_squares(made_3ss[None], enlarged_3ss[None], shown, self.color_fix, self.restorer.restoring)
        return pad_to_square(fixed_13PQ[0], size)

    def _by_parts(self, codes_hw: Tensor, context: int) -> Tensor:
        """Parts of the picture of all codes."""
        levels = self.restorer.restoring.wavelet_levels
        reach = wavelet_reach(levels) if self.color_fix == "wavelet" else 0
        fix = self._fix_of_parts(codes_hw, context)
        for row, column in self._parts(codes_hw, context, reach):
            fixed_3PQ = fix(self._made(codes_hw, row, column), self._source_of(row, column))[0]
            kept_3PQ = fixed_3PQ[:, row.kept, column.kept]
            picture_PQ3 = self._picture_HW3[row.start : row.stop, column.start : column.stop]
            picture_PQ3[:] = to_bytes(kept_3PQ).permute(1, 2, 0).cpu().numpy()
        return torch.from_numpy(self._picture_HW3).permute(2, 0, 1)

    def _fix_of_parts(self, codes_hw: Tensor, context: int) -> Callable[[Tensor, Tensor], Tensor]:
        """What gives a part its colours. AdaIN takes the moments of the whole: with their own, parts differ in tone.

        They are known only when all is rendered once, which is cheap beside the drawing of the codes.
        """
        if self.color_fix != "adain":
            return partial(fix_colors, method=self.color_fix, levels=self.restorer.restoring.wavelet_levels)
        parts = list(self._parts(codes_hw, context, 0))
        own = Moments.of_parts(self._made(codes_hw, *part)[0] for part in parts)
        wanted = Moments.of_parts(self._source_of(*part)[0] for part in parts)
        return lambda made_13PQ, source_13PQ: adain(made_13PQ, own, wanted)

    def _parts(self, codes_hw: Tensor, context: int, reach: int) -> Iterator[tuple[Span, Span]]:
        sides = zip((self.height, self.width), codes_hw.shape, strict=True)
        cell = self.restorer.cell
        yield from itertools.product(*(list(spans(length, grid, cell, context, reach, PART)) for length, grid in sides))

    def _made(self, codes_hw: Tensor, row: Span, column: Span) -> Tensor:
        """The rendered pixels (1, 3, P, Q) from first to last of both sides."""
        cell, part_hw = self.restorer.cell, codes_hw[row.cells, column.cells]
        top, left = row.cells.start * cell, column.cells.start * cell
        height, width = (side * cell for side in part_hw.shape)
        source_3PQ = enlarge_padded(self.photo_3hw, self.scale, top, left, height, width, self._by)
        made_13PQ = self._render(part_hw[None], source_3PQ[None])
        return made_13PQ[..., row.first - top : row.last - top, column.first - left : column.last - left]

    def _source_of(self, row: Span, column: Span) -> Tensor:
        """The enlarged source (1, 3, P, Q) from first to last of both sides."""
        sides = row.last - row.first, column.last - column.first
        return enlarge_part(self.photo_3hw, self.scale, row.first, column.first, *sides, by=self._by)[None]

    @property
    def _by(self) -> Enlarge:
        return enlarger(self.restorer.restoring.round_source)

    def _render(self, codes_Bhw: Tensor, enlarged_B3PQ: Tensor) -> Tensor:
        return self.restorer.render_codes(codes_Bhw.to(enlarged_B3PQ.device), enlarged_B3PQ)
