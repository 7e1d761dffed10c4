"""Reconstructs photographs with a tokenizer: what it preserves at best (the paper's table 1), and its use of codes.

Knows how a photograph of any size is cut for the tokenizer, and what is written. A bad file is reported and the others
continue. Knows nothing of runs, flags or tables. The tokenizer itself is in `models/vq.py`.

A photograph of at most `tile` px per side is encoded in one piece: its last row and column are repeated until the sides
are multiples of the tokenizer's cells, two at least, and cropped afterwards. A larger one is cut into tiles that
overlap and are blended, as in restoring. This bounds the memory of the networks, but tiles are independent, and codes
are counted twice where tiles overlap. Scores are those of the 8-bit pictures that are written.

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

from lit_pure.files.outputs import ends_all
from lit_pure.images.geometry import unpad
from lit_pure.images.io import BadImage, from_bytes, read_bytes, write_png
from lit_pure.images.tiles import Canvas, Cover, batches
from lit_pure.metrics.evaluation import mean_of
from lit_pure.metrics.intervals import Interval
from lit_pure.metrics.rows import ScoreRow
from lit_pure.metrics.score import Scorer, score_bytes
from lit_pure.models.vq import VQTokenizer
from lit_pure.restoring.outputs import ORIGINAL, RECONSTRUCTED, plan_reconstructions, reconstruction_files

LEAST_CELLS = 2
"""Cells along a side: with a single cell, group normalisation has nothing to normalise."""
OVERLAP = 8
"""Tiles overlap by their side divided by this, as in restoring."""


class CodeUse:
    """How often each code was chosen."""

    def __init__(self, codes: int) -> None:
        """`codes`: entries of the codebook."""
        self.counts_N = torch.zeros(codes, dtype=torch.long)

    def add(self, codes: Tensor) -> None:
        """Count codes, integers of any shape."""
        self.counts_N += codes.flatten().cpu().bincount(minlength=len(self.counts_N))

    def add_use(self, other: "CodeUse") -> None:
        """Count what another one has counted."""
        self.counts_N += other.counts_N

    @property
    def cells(self) -> int:
        """Codes that were counted."""
        return int(self.counts_N.sum())

    @property
    def used(self) -> int:
        """Different codes among them, at most `cells`."""
        return int((self.counts_N > 0).sum())

    @property
    def perplexity(self) -> float:
        """exp of the entropy of the codes' frequencies: as uncertain as so many equally frequent codes; 1 .. N."""
        share_N = self.counts_N.double() / max(1, self.cells)
        return float(torch.special.entr(share_N).sum().exp())


@dataclass(frozen=True)
class ReconstructedFile:
    """The result for one file."""

    source: Path
    name: str
    """Of its pictures, without extension."""
    scores: dict[str, float] = field(default_factory=dict)
    """By metric; a metric that could not score the picture is absent."""
    problems: tuple[str, ...] = ()
    """Why there is no reconstruction, or a score is missing; each names the file."""
    done: bool = True
    """Whether there is a reconstruction."""


@dataclass
class Reconstructions:
    """The results of all files, and what they say about the tokenizer."""

    metrics: Sequence[str]
    """Keys of `metrics.table.METRICS`."""
    use: CodeUse
    outcomes: list[ReconstructedFile] = field(default_factory=list)

    @property
    def done(self) -> int:
        """Photographs that were reconstructed."""
        return sum(outcome.done for outcome in self.outcomes)

    @property
    def problems(self) -> list[str]:
        """All problems, each naming its file."""
        return [problem for outcome in self.outcomes for problem in outcome.problems]

    def means(self) -> dict[str, Interval]:
        """Mean and interval by metric, over photographs that have its score; resampled as in `lit-pure evaluate`."""
        return {
            key: mean_of(key, (outcome.scores[key] for outcome in self.outcomes if key in outcome.scores))
            for key in self.metrics
        }

    def rows(self) -> list[ScoreRow]:
        """One row per reconstructed photograph, for `scores.csv`; its folder names the set."""
        done = [outcome for outcome in self.outcomes if outcome.done]
        return [ScoreRow(one.source.resolve().parent.name, RECONSTRUCTED, one.name, one.scores) for one in done]

    def record(self) -> dict[str, Any]:
        """Everything except scores of single photographs, for JSON; unknown values are None."""
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
) -> Iterator[ReconstructedFile]:
    """Encode and decode each photograph, compare, and write both pictures where `out` is given.

    Args:
        tokenizer: used on its device.
        paths: the photographs.
        scorers: each scores the reconstruction, against the original if its metric has a reference.
        use: counts the codes.
        tile: longest side that is encoded in one piece [px].
        size: side of the centre crop that is taken of each photograph [px]; None takes the whole.
        out: existing folder for original/NAME.png and reconstructed/NAME.png; existing pictures are replaced.

    Raises:
        ValueError: two photographs have the same name, one would be replaced, or `tile` is not a multiple of the
            tokenizer's cell.
        OSError: `out` cannot be written to; finished pictures stay.
    """
    names = plan_reconstructions(paths, out)
    prepare_folders(out)
    for path, name in zip(paths, names, strict=True):
        yield reconstruct_file(tokenizer, path, name, scorers, use, tile=tile, size=size, out=out)


def prepare_folders(out: Path | None) -> None:
    """Make the folders of pictures, where they are to be written."""
    for folder in _folders(out):
        folder.mkdir(exist_ok=True)


def reconstruct_file(
    tokenizer: VQTokenizer,
    path: Path,
    name: str,
    scorers: Sequence[Scorer],
    use: CodeUse,
    *,
    tile: int,
    size: int | None = None,
    out: Path | None = None,
) -> ReconstructedFile:
    """One file, as `reconstruct_files` does it; `name` is that of its pictures, without extension."""
    try:
        original_3HW = _center_crop(path, read_bytes(path), size)
        made_3HW = reconstruct(tokenizer, original_3HW, use, tile)
        if out:
            original, made = reconstruction_files(out, name)
            write_png(made, made_3HW)
            write_png(original, original_3HW)
    except BadImage as error:
        return ReconstructedFile(path, name, problems=(str(error),), done=False)
    except (MemoryError, torch.OutOfMemoryError):
        remedy = f"not enough memory to reconstruct it by tiles of {tile} px; a smaller --tile needs less"
        return ReconstructedFile(path, name, problems=(f"{path}: {remedy}",), done=False)
    except OSError as error:
        if out is None or any(ends_all(error, folder) for folder in _folders(out)):
            raise
        problem = f"{path}: cannot be written to {out} ({error.strerror or error}); rename it"
        return ReconstructedFile(path, name, problems=(problem,), done=False)
    scores, lacking = score_bytes(scorers, made_3HW, original_3HW, next(tokenizer.parameters()).device)
    return ReconstructedFile(path, name, scores, tuple(f"{path}: {reason}" for reason in lacking.values()))


def _folders(out: Path | None) -> list[Path]:
    return [out / ORIGINAL, out / RECONSTRUCTED] if out else []


def reconstruct(tokenizer: VQTokenizer, photo_3HW: Tensor, use: CodeUse, tile: int) -> Tensor:
    """Encode and decode a photograph of any size.

    Args:
        tokenizer: used on its device.
        photo_3HW: uint8.
        use: counts the codes.
        tile: longest side that is encoded in one piece [px].

    Returns:
        `(3, H, W)` uint8, on the CPU.

    Raises:
        ValueError: `tile` is not a multiple of the tokenizer's cell, or less than two cells.
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
    for [corner] in batches(rows, columns, 1):
        bottom, right = corner.top + rows.extent, corner.left + columns.extent
        piece_13hw = from_bytes(photo_3HW[None, :, corner.top : bottom, corner.left : right].to(device))
        padding = (0, width - columns.extent, 0, height - rows.extent)
        codes_1hw = tokenizer.encode(F.pad(piece_13hw, padding, mode="replicate"))
        use.add(codes_1hw)
        canvas.add(corner, unpad(tokenizer.decode(codes_1hw)[0], rows.extent, columns.extent))
    return canvas.finish()


def _center_crop(path: Path, photo_3HW: Tensor, size: int | None) -> Tensor:
    """The square of `size` px in the centre, as in test sets. Raises BadImage if the photograph is smaller."""
    if size is None:
        return photo_3HW
    height, width = photo_3HW.shape[-2:]
    if min(height, width) < size:
        raise BadImage(f"{path}: {height} x {width} px is too small; the shorter side must have {size} px")
    top, left = (height - size) // 2, (width - size) // 2
    return photo_3HW[:, top : top + size, left : left + size]
