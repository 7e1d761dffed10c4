"""From a low-quality picture to its restoration: perceive, understand, restore.

Knows the way through the frozen parts: enlarge -> codes -> prompt -> answer -> codes -> picture -> colours, for squares
of the model's size and, by overlapping squares, for photographs of any size. Knows nothing of training, files or run
folders.

Shape legend: B pictures, s side of the model's square [px], h w grid of codes, or source [px], H W restored
picture [px], l what a tile shows of it [px].
"""

import math
import zlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from lit_pure.backbone.next_token import NextTokenBackbone
from lit_pure.config.models import SamplingConfig
from lit_pure.config.schema import ColorFix, Level, RestoringConfig
from lit_pure.images.colorfix import fix_colors
from lit_pure.images.geometry import enlarge_part, pad_to_square, resize, unpad
from lit_pure.images.tiles import Canvas, Cover, MeanMap, Tile, batches
from lit_pure.sampling.decode import Decoded, decode
from lit_pure.sampling.grammar import Grammar
from lit_pure.sampling.passes import Progress
from lit_pure.sequence.assemble import Assembler
from lit_pure.sequence.template import degradation_sentence, read_answer
from lit_pure.tokens.vq import VQTokenizer


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


def image_number(name: str) -> int:
    """A number that names an image for the sampling noise: the same name gives the same noise everywhere."""
    return zlib.crc32(name.encode())


class Restorer:
    """Restores pictures with a backbone and a frozen tokenizer."""

    def __init__(
        self,
        tokenizer: VQTokenizer,
        backbone: NextTokenBackbone,
        assembler: Assembler,
        sampling: SamplingConfig,
        size: int,
        scale: int,
        restoring: RestoringConfig | None = None,
    ) -> None:
        """`size`: side of the model's square [px]; `scale`: how many times a side is enlarged."""
        if tokenizer.config.codes != assembler.vocabulary.codes:
            raise ValueError(
                f"the tokenizer has {tokenizer.config.codes} codes and the vocabulary {assembler.vocabulary.codes}; "
                "choose another needs.tokenizer, or make a vocabulary with `lit-pure vocabulary`"
            )
        self.tokenizer, self.backbone, self.assembler = tokenizer, backbone, assembler
        self.sampling, self.size, self.scale = sampling, size, scale
        self.restoring = restoring or RestoringConfig()

    def to(self, device: torch.device) -> "Restorer":
        """Move backbone and tokenizer."""
        self.backbone.to(device)
        self.tokenizer.to(device)
        return self

    def restore(self, lq_B3hw: Tensor, names: Sequence[str], progress: Progress | None = None) -> list[Restoration]:
        """Restore a batch of squares of side `size / scale` (any size is stretched to the square)."""
        enlarged_B3ss = resize(lq_B3hw, self.size, self.size)
        return self._restorations(enlarged_B3ss, self.answer(enlarged_B3ss, names, progress), self.restoring.color_fix)

    def restore_photo(
        self,
        photo_3hw: Tensor,
        name: str,
        scale: int | None = None,
        color_fix: ColorFix | None = None,
        progress: PhotoProgress | None = None,
    ) -> RestoredPhoto:
        """Restore one photograph of any size, enlarged `scale` times, by overlapping squares.

        Memory is bounded by `restoring.batch` squares, one row of squares, and the result in 8 bits. What fits into one
        square draws the noise of `name`; of several squares each draws its own.

        Args:
            photo_3hw: in [0, 1].
            name: decides the noise.
            scale: at least 1; without it the one that the model was trained for.
            color_fix: without it that of the configuration.
            progress: told how many tokens there are, and how many were just made.

        Raises ValueError where `scale` is below 1, MemoryError where the result does not fit.
        """
        photo_3hw = photo_3hw.to(next(self.backbone.parameters()).device)
        scale = self.scale if scale is None else scale
        if scale < 1:
            raise ValueError(f"scale {scale} is below 1; a photograph is enlarged 1, 2, 3 ... times")
        fix, overlap = color_fix or self.restoring.color_fix, int(self.size * self.restoring.overlap)
        rows, columns = (Cover(side * scale, self.size, overlap) for side in photo_3hw.shape[-2:])
        count, shown = len(rows.starts) * len(columns.starts), (rows.extent, columns.extent)
        growing = _GrowingPhoto(rows, columns, self.tokenizer.downsample)
        ledger = _Ledger(count, self._image_tokens, progress)
        for tiles in batches(rows, columns, self.restoring.batch):
            squares_B3ss = torch.stack([self._square(photo_3hw, scale, tile) for tile in tiles])
            names = [name if count == 1 else f"{name}/{tile.number}" for tile in tiles]
            decoded = self.answer(squares_B3ss, names, ledger.made)
            growing.add(tiles, self._restorations(squares_B3ss, decoded, fix, shown))
            ledger.close(decoded, len(tiles))
        return growing.finish(ledger)

    def _square(self, photo_3hw: Tensor, scale: int, tile: Tile) -> Tensor:
        """The square (3, s, s) of the enlarged photograph at a tile; its last row and column go on beyond its end."""
        return pad_to_square(enlarge_part(photo_3hw, scale, tile.top, tile.left, self.size, self.size), self.size)

    def answer(self, enlarged_B3ss: Tensor, names: Sequence[str], progress: Progress | None = None) -> Decoded:
        """What the model writes to a batch of enlarged squares."""
        codes_Bhw = self.tokenizer.encode(enlarged_B3ss)
        prompts = [self.assembler.prompt(codes_hw) for codes_hw in codes_Bhw]
        grammar = Grammar.of(self.assembler, *codes_Bhw.shape[1:])
        numbers = [image_number(name) for name in names]
        was_training = self.backbone.training
        self.backbone.eval()
        decoded = decode(self.backbone, prompts, grammar, self.sampling, numbers, codes_Bhw, progress)
        self.backbone.train(was_training)
        return decoded

    def _restorations(
        self, enlarged_B3ss: Tensor, decoded: Decoded, fix: ColorFix, shown: tuple[int, int] | None = None
    ) -> list[Restoration]:
        """Answers as pictures and words; of pictures and maps what is `shown` (height, width) [px], without padding."""
        height, width = shown or (self.size, self.size)
        made_B3ss = self.tokenizer.decode(decoded.codes_Bhw)
        # Cut first: what pads a small picture must have no say in its colours.
        fixed_B3ll = fix_colors(unpad(made_B3ss, height, width), unpad(enlarged_B3ss, height, width), fix)
        rows, columns = (-(-side // self.tokenizer.downsample) for side in (height, width))
        speed = decoded.tokens / decoded.seconds
        results = []
        for row, ids in enumerate(decoded.text):
            text = self.assembler.vocabulary.decode(ids)
            answer = read_answer(self.assembler.mode, text)
            entropy_hw, k_hw = (grid_Bhw[row, :rows, :columns] for grid_Bhw in (decoded.entropy_Bhw, decoded.k_Bhw))
            results.append(Restoration(fixed_B3ll[row], text.strip(), *answer, entropy_hw, k_hw, speed))
        return results

    @property
    def _image_tokens(self) -> int:
        """Tokens of a square's answer besides its text."""
        cells = self.size // self.tokenizer.downsample
        return Grammar.of(self.assembler, cells, cells).image_length


class _Ledger:
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


class _GrowingPhoto:
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

    def finish(self, ledger: _Ledger) -> RestoredPhoto:
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


def bicubic(lq_B3hw: Tensor, size: int) -> Tensor:
    """What every restoration is compared to: bicubic enlargement to `size` x `size`."""
    with torch.no_grad():
        return resize(lq_B3hw, size, size)
