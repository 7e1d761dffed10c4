"""A photograph assembled from restored squares: pixels, maps, words, and progress.

Knows how several restored squares become one photograph. Knows no family and no model.

Shape legend: H W restored picture [px], h w cells.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from torch import Tensor

from lit_pure.images.tiles import Canvas, Cover, MeanMap, Tile
from lit_pure.restoring.contract import CellMap, CodeSquare, Restoration, TileWords, Words
from lit_pure.restoring.journal import Journal


@dataclass(frozen=True)
class RestoredPhoto:
    """One restored photograph."""

    pixels_3HW: Tensor
    """The restored picture, uint8, on the CPU."""
    words: Words
    """What the model wrote; of several tiles, what the restorer's `words_of` makes of theirs."""
    maps: Mapping[str, CellMap]
    """Cell by cell; where tiles overlap, their mean, to the nearest cell, or that of the tile that drew the cell."""
    tokens: int
    """Tokens of all answers."""
    seconds: float
    """Seconds that the squares took."""
    tiles: list[TileWords]
    """The words of each tile, row by row."""


class PhotoProgress(Protocol):
    """Follows the progress of a photograph, in tokens, or in parts where there are no tokens."""

    def begin(self, height: int, width: int, squares: int) -> None:
        """What is made: a picture of this size [px], of so many squares or parts. Called first."""

    def plan(self, tokens: int) -> None:
        """How many tokens the whole photograph is expected to take."""

    def __call__(self, made: int) -> None:
        """How many tokens were just made."""


class PhotoRestorer(Protocol):
    """Restores photographs of any size: a model square by square (`tiled.py`), or a baseline (`enlarge.py`)."""

    @property
    def scale(self) -> int:
        """Factor by which a side is enlarged, unless another one is given."""

    def settings(self) -> dict[str, Any]:
        """Everything that a picture depends on besides its source, the weights and the scale."""

    def restore_photo(
        self,
        photo_3hw: Tensor,
        name: str,
        scale: int | None = None,
        *,
        progress: PhotoProgress | None = None,
        journal: Journal | None = None,
    ) -> RestoredPhoto:
        """Restore a photograph in [0, 1]; `name` decides what is drawn.

        What `journal` has is not drawn again, by who draws anything. Raises ValueError, MemoryError.
        """


class PhotoMeter:
    """Counts tokens and seconds of one photograph, and reports them to its progress."""

    def __init__(self, squares: float, tokens_per_square: int, progress: PhotoProgress | None) -> None:
        """`squares`: how many there are; one of which a part is known already may count as the rest of it."""
        self.progress, self.squares, self._done = progress, squares, 0.0
        self.tokens, self.seconds, self._reported = 0, 0.0, 0
        self._plan(tokens_per_square)

    def add_tokens(self, tokens: int) -> None:
        """An engine made tokens."""
        self._reported += tokens
        if self.progress is not None:
            self.progress(tokens)

    def add_batch(self, batch: Sequence[Restoration | CodeSquare], squares: float | None = None) -> None:
        """A batch is done, which counts as `squares`; the remaining ones are expected to take the average so far."""
        self.tokens += sum(restored.tokens for restored in batch)
        self.seconds += sum(restored.seconds for restored in batch)
        self._done += len(batch) if squares is None else squares
        self.add_tokens(self.tokens - self._reported)  # engines do not report every token that is forced
        self._plan(self.tokens / self._done)

    def _plan(self, tokens_per_square: float) -> None:
        if self.progress is not None:
            self.progress.plan(self.tokens + round((self.squares - self._done) * tokens_per_square))


class PhotoBuilder:
    """Assembles a photograph: pixels, maps and words of the tiles so far."""

    def __init__(self, rows: Cover, columns: Cover) -> None:
        self.rows, self.columns, self.canvas = rows, columns, Canvas(rows, columns)
        self.tiles: list[TileWords] = []
        self._maps: dict[str, tuple[CellMap, MeanMap]] = {}

    def add(self, tiles: Sequence[Tile], batch: Sequence[Restoration]) -> None:
        """Add a batch of tiles."""
        for tile, restored in zip(tiles, batch, strict=True):
            self.canvas.add(tile, restored.image_3HW)
            for name, cells in restored.maps.items():
                self._mean(name, cells).add(*_corner(tile, cells.cell), cells.values_hw)
            self.tiles.append(TileWords(tile.top, tile.left, self.rows.extent, self.columns.extent, restored.words))

    def finish(self, meter: PhotoMeter, words_of: Callable[[Sequence[TileWords], int, int], Words]) -> RestoredPhoto:
        """The whole photograph; `words_of` makes its words from those of its tiles."""
        alone = self.tiles[0].words if len(self.tiles) == 1 else None
        words = words_of(self.tiles, self.rows.length, self.columns.length) if alone is None else alone
        maps = {name: replace(one, values_hw=mean.finish()) for name, (one, mean) in self._maps.items()}
        return RestoredPhoto(self.canvas.finish(), words, maps, meter.tokens, meter.seconds, self.tiles)

    def _mean(self, name: str, cells: CellMap) -> MeanMap:
        if name not in self._maps:
            sides = (-(-cover.length // cells.cell) for cover in (self.rows, self.columns))
            self._maps[name] = cells, MeanMap(*sides)
        return self._maps[name][1]


def _corner(tile: Tile, cell: int) -> tuple[int, int]:
    """The first cell of a tile, rounded up on both axes, so that the last tile ends with the picture."""
    return -(-tile.top // cell), -(-tile.left // cell)
