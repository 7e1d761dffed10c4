"""Makes one picture of one job, and scores it against the ground truth.

Knows the methods, and what is kept to show. Knows nothing of plans, processes or files of scores.
"""

import math
import zlib
from functools import cache, lru_cache
from pathlib import Path

import torch
from torch import Tensor

from lit_pure.baselines.enlarge import enlarger_of
from lit_pure.baselines.table import BASELINES
from lit_pure.families.settings import settings_of
from lit_pure.families.table import family_of, restorer_of
from lit_pure.images.io import from_bytes, read_bytes, write_png
from lit_pure.metrics.score import Scorer, score_bytes
from lit_pure.models import weights
from lit_pure.models.vq import VQTokenizer
from lit_pure.restoring.contract import CellMap, SquareRestorer
from lit_pure.restoring.reconstruct import CodeUse, reconstruct
from lit_pure.restoring.tiled import restore_photo
from lit_pure.study.jobs import StudyJob
from lit_pure.study.plan import ENTROPY
from lit_pure.study.score_files import Scored
from lit_pure.study.sets import PicturePair
from lit_pure.study.structure import correlations

TILE = 512
"""Longest side that a tokenizer encodes in one piece, as in `lit-pure reconstruct` [px]."""


def perform(job: StudyJob, pair: PicturePair, shown: Path | None) -> Scored:
    """Make a picture and score it.

    Args:
        job: the job.
        pair: its files.
        shown: folder for NAME.png, and NAME.pt with the entropy of each cell; None keeps neither.

    Raises:
        ValueError: a file cannot be read, or the sizes of the pair do not match.
    """
    hq_3HW = read_bytes(pair.hq)
    made_3HW, entropy = _make_picture(job, pair, hq_3HW)
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


def _make_picture(job: StudyJob, pair: PicturePair, hq_3HW: Tensor) -> tuple[Tensor, CellMap | None]:
    """The picture (3, H, W), uint8, and the map of its entropy if there is one."""
    if job.method == "reconstruct":
        tokenizer = _tokenizer(job)
        return reconstruct(tokenizer, hq_3HW, CodeUse(tokenizer.config.codes), TILE), None
    lq_3hw = read_bytes(pair.lq)
    height, width = hq_3HW.shape[-2:]
    scale, remainder = divmod(width, lq_3hw.shape[-1])
    if remainder or (height, width) != tuple(side * scale for side in lq_3hw.shape[-2:]):
        raise ValueError(f"{pair.hq} has {height} x {width} px, which is no integer multiple of {pair.lq}")
    if job.method in BASELINES:
        enlarger = enlarger_of(job.method, threads=1)
        return enlarger.restore_photo(from_bytes(lq_3hw), pair.lq.name, scale).pixels_3HW, None
    assert job.run is not None
    restorer = _restorer(job)
    family, given = family_of(job.run), None
    if job.given:
        words = job.given == "words"
        given = family.given_words(job.run, lq_3hw, hq_3HW) if words else family.given_codes(job.run, hq_3HW)
    # The file's name decides the noise, so `lit-pure restore` makes the same picture.
    made = restore_photo(restorer, from_bytes(lq_3hw), pair.lq.name, scale, given=given)
    return made.pixels_3HW, made.maps.get("entropy")


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
