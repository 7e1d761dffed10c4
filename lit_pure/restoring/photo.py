"""A photograph put together from restored squares: pixels, maps, words, and how far it has come.

Knows what a restored square is and how several become one. Knows nothing of models.

Shape legend: H W restored picture [px], h w grid of codes.
"""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from lit_pure.config.dem import Level
from lit_pure.families.pure.sampling.decode import Decoded
from lit_pure.families.pure.sequence.template import degradation_sentence
from lit_pure.images.tiles import Canvas, Cover, MeanMap, Tile


@dataclass(frozen=True)
class Restoration:
    """What became of one square."""

    image_3HW: Tensor
    """The restored picture in [0, 1]."""
    text: str
    """The answer's text as the model wrote it."""
    blur: Level | None
    """Perceived blur; None where the mode or the model says nothing of it."""
    noise: Level | None
    """Perceived noise."""
    caption: str
    """The description; empty where the mode has none."""
    entropy_hw: Tensor
    """Entropy of each image token [nats]."""
    k_hw: Tensor
    """The k that each image token was drawn with."""
    tokens_per_second: float
    """Tokens of the batch by the seconds it took."""


@dataclass(frozen=True)
class TileAnswer:
    """What the model wrote of one tile of a photograph, and where that tile lies in the restored picture [px]."""

    top: int
    left: int
    height: int
    width: int
    text: str
    blur: Level | None
    noise: Level | None
    caption: str


@dataclass(frozen=True)
class RestoredPhoto:
    """What became of one photograph."""

    pixels_3HW: Tensor
    """The restored picture, uint8, on the CPU."""
    text: str
    """The answer's text; of several tiles the sentence of the levels below, and the caption."""
    blur: Level | None
    """Perceived blur; of several tiles the most frequent."""
    noise: Level | None
    """Perceived noise; likewise."""
    caption: str
    """The description; of several tiles that of the one nearest to the picture's middle."""
    entropy_hw: Tensor
    """Entropy of the image tokens [nats], cell by cell; where tiles overlap their mean, to the nearest cell."""
    k_hw: Tensor
    """The k of the image tokens; likewise."""
    tokens: int
    """Tokens of all answers."""
    seconds: float
    """Seconds that they took."""
    tiles: list[TileAnswer]
    """Each tile's answer, row by row."""


class PhotoProgress(Protocol):
    """What a photograph's progress is told to."""

    def plan(self, tokens: int) -> None:
        """How many tokens the whole photograph will take, as far as is known by now."""

    def __call__(self, made: int) -> None:
        """How many tokens were just made."""


class Ledger:
    """Tokens and seconds of one photograph, and what its progress is told of them."""

    def __init__(self, squares: int, image_tokens: int, progress: PhotoProgress | None) -> None:
        self.progress, self.squares, self._done = progress, squares, 0
        self.tokens, self.seconds, self._told = 0, 0.0, 0
        self._plan(image_tokens)

    def made(self, tokens: int) -> None:
        """An engine made tokens."""
        self._told += tokens
        if self.progress is not None:
            self.progress(tokens)

    def close(self, decoded: Decoded, squares: int) -> None:
        """A batch of squares is done; the others are expected to take what those so far took on average."""
        self.tokens, self.seconds = self.tokens + decoded.tokens, self.seconds + decoded.seconds
        self._done += squares
        self.made(self.tokens - self._told)  # engines do not report every token that is forced
        self._plan(self.tokens / self._done)

    def _plan(self, tokens_per_square: float) -> None:
        if self.progress is not None:
            self.progress.plan(self.tokens + round((self.squares - self._done) * tokens_per_square))


class GrowingPhoto:
    """A photograph being put together: pixels, maps and words of the tiles so far."""

    def __init__(self, rows: Cover, columns: Cover, cell: int) -> None:
        """`cell`: pixels per code."""
        self.rows, self.columns, self.cell, self.canvas = rows, columns, cell, Canvas(rows, columns)
        self.entropy, self.k = (MeanMap(-(-rows.length // cell), -(-columns.length // cell)) for _ in range(2))
        self.answers: list[TileAnswer] = []

    def add(self, tiles: Sequence[Tile], restorations: Sequence[Restoration]) -> None:
        """Take a batch of tiles."""
        for tile, made in zip(tiles, restorations, strict=True):
            self.canvas.add(tile, made.image_3HW)
            # To the next cell below and right, so that the last tile's cells end with the picture.
            corner = (-(-tile.top // self.cell), -(-tile.left // self.cell))
            self.entropy.add(*corner, made.entropy_hw)
            self.k.add(*corner, made.k_hw)
            place = (tile.top, tile.left, self.rows.extent, self.columns.extent)
            self.answers.append(TileAnswer(*place, made.text, made.blur, made.noise, made.caption))

    def finish(self, ledger: Ledger) -> RestoredPhoto:
        """The whole."""
        words = _summary(self.answers, self.rows.length, self.columns.length)
        maps, cost = (self.entropy.finish(), self.k.finish()), (ledger.tokens, ledger.seconds)
        return RestoredPhoto(self.canvas.finish(), *words, *maps, *cost, self.answers)


def _summary(answers: Sequence[TileAnswer], height: int, width: int) -> tuple[str, Level | None, Level | None, str]:
    """Text, blur, noise and caption of a whole photograph (height, width) [px]."""
    if len(answers) == 1:
        return answers[0].text, answers[0].blur, answers[0].noise, answers[0].caption
    blur, noise = _most_frequent(one.blur for one in answers), _most_frequent(one.noise for one in answers)
    # What stands in the middle is said of the whole sooner than what stands at an edge.
    middle = min(answers, key=lambda a: math.dist((2 * a.top + a.height, 2 * a.left + a.width), (height, width)))
    sentence = degradation_sentence(blur, noise) if blur and noise else ""
    return f"{sentence} {middle.caption}".strip(), blur, noise, middle.caption


def _most_frequent(levels: Iterable[Level | None]) -> Level | None:
    """The level said most often; the first of equals, None where none was said."""
    counted = Counter(level for level in levels if level)
    return counted.most_common(1)[0][0] if counted else None
