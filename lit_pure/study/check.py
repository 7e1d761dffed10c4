"""Repeats finished jobs and compares: whether the figures of a page are reproduced.

Knows the stored scores of a job and pictures that are made again. Changes nothing that is stored.
"""

import math
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from lit_pure.study import score_files
from lit_pure.study.jobs import StudyJob
from lit_pure.study.score_files import Scored
from lit_pure.study.workers import TOGETHER, Progress, score_pairs, worker_pool


@dataclass(frozen=True)
class Recheck:
    """The comparison of a repeated job."""

    job: StudyJob
    same: int
    """Number of pictures that are equal in every byte."""
    of: int
    """Number of pictures that were made again."""
    differences: dict[str, float]
    """Largest difference between a score and the stored one, by metric; zeros are left out."""

    @property
    def agrees(self) -> bool:
        """Whether everything is equal."""
        return self.same == self.of and not self.differences


def recheck_jobs(jobs: Sequence[StudyJob], out: Path, most: int, workers: int, progress: Progress) -> Iterator[Recheck]:
    """Make the pictures of finished jobs again, including LQ pictures.

    Args:
        jobs: finished jobs, in their order.
        out: folder with the scores of finished jobs.
        most: number of pictures of each job, from the first; 0 takes all.
        workers: number of processes, with one thread each; 1 computes in this process.
        progress: called when a picture is done.

    Raises:
        ValueError: a picture cannot be used. OSError: something cannot be written.
    """
    with tempfile.TemporaryDirectory() as folder, worker_pool(workers) as pool:
        for job in jobs:
            groups = -(-most // TOGETHER) * TOGETHER or None  # pictures come out again in the groups they were made in
            pairs = list(islice(job.pictures.pairs(Path(folder)), groups))
            made = dict[str, Scored]()
            for name, scored in islice(score_pairs(job, pairs, None, pool), most or None):
                made[name] = scored
                progress(job, len(made))
            yield _compare(job, score_files.read(job, out), made)


def _compare(job: StudyJob, kept: dict[str, Scored], made: dict[str, Scored]) -> Recheck:
    """Compare the pictures made again with the stored ones."""
    same = sum(made[name].crc32 == kept[name].crc32 for name in made)
    differences = {
        key: most
        for key in job.metrics
        if (most := max(_score_difference(made[name].scores[key], kept[name].scores[key]) for name in made)) > 0
    }
    return Recheck(job, same, len(made), differences)


def _score_difference(one: float, other: float) -> float:
    """The difference to five decimals, as scores are stored; infinite where only one score exists."""
    if math.isnan(one) or math.isnan(other):
        return 0.0 if math.isnan(one) and math.isnan(other) else math.inf
    return abs(float(f"{one:.5f}") - other)
