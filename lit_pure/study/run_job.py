"""Makes some pictures of one job, and scores them against the ground truth.

Knows the methods, and what is kept to show. Knows nothing of plans, processes or files of scores.
"""

import math
import zlib
from collections.abc import Callable, Sequence
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lit_pure.baselines.enlarge import enlarger_of
from lit_pure.baselines.table import BASELINES
from lit_pure.families.settings import settings_of
from lit_pure.families.table import family_of, restorer_of
from lit_pure.images.io import from_bytes, read_bytes, write_png
from lit_pure.images.tiles import Tile
from lit_pure.metrics.score import Scorer, score_bytes
from lit_pure.models import weights
from lit_pure.models.vq import VQTokenizer
from lit_pure.restoring.contract import CellMap, SquareRestorer
from lit_pure.restoring.reconstruct import CodeUse, reconstruct
from lit_pure.restoring.tiled import restore_together
from lit_pure.study.jobs import StudyJob
from lit_pure.study.plan import ENTROPY
from lit_pure.study.score_files import Scored
from lit_pure.study.sets import PicturePair
from lit_pure.study.structure import correlations

TILE = 512
"""Longest side that a tokenizer encodes in one piece, as in `lit-pure reconstruct` [px]."""

Made = tuple[Tensor, CellMap | None]
"""A picture (3, H, W), uint8, and the map of its entropy if there is one."""


def perform(job: StudyJob, pairs: Sequence[PicturePair], shown: Path | None) -> list[Scored]:
    """Make pictures and score them.

    Args:
        job: the job.
        pairs: their files; a model restores them together.
        shown: folder for NAME.png, and NAME.pt with the entropy of each cell; None keeps neither.

    Raises:
        ValueError: a file cannot be read, or the sizes of a pair do not match.
    """
    hq = [read_bytes(pair.hq) for pair in pairs]
    made = _make_pictures(job, pairs, hq)
    return [_score(job, pair, *one, shown) for pair, one in zip(pairs, zip(hq, made, strict=True), strict=True)]


def _score(job: StudyJob, pair: PicturePair, hq_3HW: Tensor, made: Made, shown: Path | None) -> Scored:
    made_3HW, entropy = made
    scorers = [_scorer(key) for key in job.metrics if key not in ENTROPY]
    scores, _ = score_bytes(scorers, made_3HW, hq_3HW, torch.device("cpu"))
    if entropy is not None and set(ENTROPY) & set(job.metrics):
        scores |= correlations(hq_3HW, entropy.values_hw.float().cpu(), entropy.cell)
    if shown is not None:
        shown.mkdir(parents=True, exist_ok=True)
        if entropy is not None:
            torch.save(entropy.values_hw.float().cpu(), shown / f"{pair.name}.pt")
        write_png(shown / f"{pair.name}.png", made_3HW)
    crc32 = f"{zlib.crc32(made_3HW.contiguous().numpy().tobytes()):08x}"
    return Scored(crc32, {key: scores.get(key, math.nan) for key in job.metrics})


def _make_pictures(job: StudyJob, pairs: Sequence[PicturePair], hq: Sequence[Tensor]) -> list[Made]:
    if job.method == "reconstruct":
        tokenizer = _tokenizer(job)
        use = CodeUse(tokenizer.config.codes)
        return [(reconstruct(tokenizer, hq_3HW, use, TILE), None) for hq_3HW in hq]
    lq = [read_bytes(pair.lq) for pair in pairs]
    scales = [_scale(pair, *sides) for pair, sides in zip(pairs, zip(lq, hq, strict=True), strict=True)]
    # The file's name decides the noise, so `lit-pure restore` makes the same picture.
    photos = [(from_bytes(lq_3hw), pair.lq.name, scale) for lq_3hw, pair, scale in zip(lq, pairs, scales, strict=True)]
    if job.method in BASELINES:
        enlarger = enlarger_of(job.method, threads=1)
        return [(enlarger.restore_photo(*photo).pixels_3HW, None) for photo in photos]
    given = [_given(job, lq_3hw, hq_3HW) for lq_3hw, hq_3HW in zip(lq, hq, strict=True)]
    return [(made.pixels_3HW, made.maps.get("entropy")) for made in restore_together(_restorer(job), photos, given)]


def _given(job: StudyJob, lq_3hw: Tensor, hq_3HW: Tensor) -> Callable[[Tile], Any] | None:
    if not job.given:
        return None
    assert job.run is not None
    family = family_of(job.run)
    return family.given_words(job.run, lq_3hw, hq_3HW) if job.given == "words" else family.given_codes(job.run, hq_3HW)


def _scale(pair: PicturePair, lq_3hw: Tensor, hq_3HW: Tensor) -> int:
    height, width = hq_3HW.shape[-2:]
    scale, remainder = divmod(width, lq_3hw.shape[-1])
    if remainder or (height, width) != tuple(side * scale for side in lq_3hw.shape[-2:]):
        raise ValueError(f"{pair.hq} has {height} x {width} px, which is no integer multiple of {pair.lq}")
    return scale


@cache
def _scorer(key: str) -> Scorer:
    return Scorer(key)


@lru_cache(maxsize=1)
def _restorer(job: StudyJob) -> SquareRestorer:
    """The model of the current job; a process does one job after the other."""
    assert job.run is not None
    return restorer_of(job.run, settings_of(job.run, job.settings))


@lru_cache(maxsize=1)
def _tokenizer(job: StudyJob) -> VQTokenizer:
    assert job.run is not None
    return weights.load_tokenizer(job.run.weights)
