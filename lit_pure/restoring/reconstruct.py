"""Photographs through a tokenizer and back: what it can at best keep (the paper's table 1), and how it uses its codes.

Knows how a photograph of any size is cut for the tokenizer, what is written, and that a bad file is named and the rest
go on. Knows nothing of runs, flags or tables. The tokenizer itself is `models/vq.py`'s.

A photograph of at most `tile` px per side goes through in one piece, its last row and column repeated until the sides
are multiples of the tokenizer's cells, two at least, and cut again afterwards. A larger one goes by tiles that overlap
and are blended, as in restoring: that bounds the memory of the networks, but a tile knows nothing of the others, and
where tiles overlap the codes of both are counted. Scores are those of the 8-bit pictures that are written.

Suffixes: 3 RGB, H W height and width [px], h w those of a tile, or of its grid of codes, N codes.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from lit_pure.images.files import names_of
from lit_pure.images.geometry import unpad
from lit_pure.images.io import BadImage, from_bytes, read_bytes, write_png
from lit_pure.images.tiles import Canvas, Cover, batches
from lit_pure.metrics.evaluation import mean_of
from lit_pure.metrics.intervals import Interval
from lit_pure.metrics.rows import ScoreRow
from lit_pure.metrics.score import Scorer, score_bytes
from lit_pure.models.vq import VQTokenizer

ORIGINAL, RECONSTRUCTED = "original", "reconstructed"
"""The two folders of pictures; the same photograph has the same name in both."""
LEAST_CELLS = 2
"""Along a side: in a picture of a single cell, group normalisation has nothing to normalise."""
OVERLAP = 8
"""Tiles overlap by their side over this, as in restoring."""


class CodeUse:
    """How often each code was chosen."""

    def __init__(self, codes: int) -> None:
        """`codes`: entries of the codebook."""
        self.counts_N = torch.zeros(codes, dtype=torch.long)

    def add(self, codes: Tensor) -> None:
        """Count codes, integers of any shape."""
        self.counts_N += codes.flatten().cpu().bincount(minlength=len(self.counts_N))

    @property
    def cells(self) -> int:
        """Codes counted."""
        return int(self.counts_N.sum())

    @property
    def used(self) -> int:
        """Different codes among them, which cannot be more than `cells`."""
        return int((self.counts_N > 0).sum())

    @property
    def perplexity(self) -> float:
        """exp of the entropy of the codes' shares: so many codes, used equally often, would be as uncertain; 1 .. N."""
        share_N = self.counts_N.double() / max(1, self.cells)
        return float(torch.special.entr(share_N).sum().exp())


@dataclass(frozen=True)
class Outcome:
    """What became of one file."""

    source: Path
    name: str
    """Of its pictures, without extension."""
    scores: dict[str, float] = field(default_factory=dict)
    """By metric; one that could not score it is absent."""
    problems: tuple[str, ...] = ()
    """Why it could not be reconstructed, or lacks a score; each names the file."""
    done: bool = True
    """Whether there is a reconstruction."""


@dataclass
class Reconstructions:
    """What became of all files, and what that says of the tokenizer."""

    metrics: Sequence[str]
    """Keys of `metrics.table.METRICS`."""
    use: CodeUse
    outcomes: list[Outcome] = field(default_factory=list)

    @property
    def done(self) -> int:
        """Photographs that were reconstructed."""
        return sum(outcome.done for outcome in self.outcomes)

    @property
    def problems(self) -> list[str]:
        """All that was not done, each naming its file."""
        return [problem for outcome in self.outcomes for problem in outcome.problems]

    def means(self) -> dict[str, Interval]:
        """Mean and interval by metric over the photographs that it could score, resampled as in `lit-pure evaluate`."""
        return {
            key: mean_of(key, (outcome.scores[key] for outcome in self.outcomes if key in outcome.scores))
            for key in self.metrics
        }

    def rows(self) -> list[ScoreRow]:
        """One per reconstructed photograph, for `scores.csv`; its folder names the set."""
        done = [outcome for outcome in self.outcomes if outcome.done]
        return [ScoreRow(one.source.resolve().parent.name, RECONSTRUCTED, one.name, one.scores) for one in done]

    def record(self) -> dict[str, Any]:
        """All of it but the scores of single photographs, as JSON holds it; what is not known is None."""
        means = {key: vars(mean) for key, mean in self.means().items()}
        use = self.use
        return {
            "photos": self.done,
            "metrics": {
                key: {name: value if math.isfinite(value) else None for name, value in mean.items()}
                for key, mean in means.items()
            },
            "codes": {"entries": len(use.counts_N), "used": use.used, "cells": use.cells, "perplexity": use.perplexity},
            "problems": self.problems,
        }


def reconstruct_files(
    tokenizer: VQTokenizer,
    paths: Sequence[Path],
    scorers: Sequence[Scorer],
    use: CodeUse,
    *,
    tile: int,
    size: int | None = None,
    out: Path | None = None,
) -> Iterator[Outcome]:
    """Encode and decode each photograph, compare, and write both pictures where `out` is given.

    Args:
        tokenizer: does it, where it is.
        paths: the photographs.
        scorers: each scores the reconstruction, beside the original where it wants to.
        use: counts the codes.
        tile: longest side that goes through in one piece [px].
        size: side of the square in the middle of each photograph that is taken [px]; None takes the whole.
        out: existing folder for original/NAME.png and reconstructed/NAME.png, which are replaced where they are there.

    Raises:
        ValueError: two photographs have the same name, or `tile` cannot be cut into the tokenizer's cells.
        OSError: `out` cannot be written to; what was finished stays.
    """
    names = names_of(paths)
    for folder in (out / ORIGINAL, out / RECONSTRUCTED) if out else ():
        folder.mkdir(exist_ok=True)
    for path, name in zip(paths, names, strict=True):
        try:
            original_3HW = _middle(path, read_bytes(path), size)
            made_3HW = reconstruct(tokenizer, original_3HW, use, tile)
        except BadImage as error:
            yield Outcome(path, name, problems=(str(error),), done=False)
            continue
        except (MemoryError, torch.OutOfMemoryError):
            remedy = f"not enough memory to reconstruct it by tiles of {tile} px; a smaller --tile needs less"
            yield Outcome(path, name, problems=(f"{path}: {remedy}",), done=False)
            continue
        if out:
            write_png(out / ORIGINAL / f"{name}.png", original_3HW)
            write_png(out / RECONSTRUCTED / f"{name}.png", made_3HW)
        scores, lacking = score_bytes(scorers, made_3HW, original_3HW, next(tokenizer.parameters()).device)
        yield Outcome(path, name, scores, tuple(f"{path}: {reason}" for reason in lacking.values()))


def reconstruct(tokenizer: VQTokenizer, photo_3HW: Tensor, use: CodeUse, tile: int) -> Tensor:
    """A photograph of any size through the tokenizer and back.

    Args:
        tokenizer: does it, where it is.
        photo_3HW: uint8.
        use: counts the codes.
        tile: longest side that goes through in one piece [px].

    Returns:
        `(3, H, W)` uint8, on the CPU.

    Raises:
        ValueError: `tile` cannot be cut into the tokenizer's cells, or into two of them at least.
        MemoryError: the picture does not fit.
    """
    cell, device = tokenizer.downsample, next(tokenizer.parameters()).device
    least = LEAST_CELLS * cell
    if tile < least or tile % cell:
        raise ValueError(f"tiles of {tile} px cannot be cut into codes of {cell} px; take a multiple from {least}")
    height, width = (min(tile, max(least, -(-side // cell) * cell)) for side in photo_3HW.shape[-2:])
    rows, columns = (
        Cover(length, side, min(tile // OVERLAP, side // 2))
        for length, side in zip(photo_3HW.shape[-2:], (height, width), strict=True)
    )
    canvas = Canvas(rows, columns)
    for [place] in batches(rows, columns, 1):
        bottom, right = place.top + rows.extent, place.left + columns.extent
        piece_13hw = from_bytes(photo_3HW[None, :, place.top : bottom, place.left : right].to(device))
        missing = (0, width - columns.extent, 0, height - rows.extent)
        codes_1hw = tokenizer.encode(F.pad(piece_13hw, missing, mode="replicate"))
        use.add(codes_1hw)
        canvas.add(place, unpad(tokenizer.decode(codes_1hw)[0], rows.extent, columns.extent))
    return canvas.finish()


def _middle(path: Path, photo_3HW: Tensor, size: int | None) -> Tensor:
    """The square of `size` px in the middle, as test sets are cut. Raises BadImage where there is none."""
    if size is None:
        return photo_3HW
    height, width = photo_3HW.shape[-2:]
    if min(height, width) < size:
        raise BadImage(f"{path}: {height} x {width} px is too small; the shorter side must have {size} px")
    top, left = (height - size) // 2, (width - size) // 2
    return photo_3HW[:, top : top + size, left : left + size]
