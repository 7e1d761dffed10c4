"""Does finished jobs once more and compares: whether the numbers of a page come out again.

Knows what is kept of a job, and pictures made anew. Changes nothing that is kept.
"""

import math
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from lit_pure.study import score_files
from lit_pure.study.jobs import Job
from lit_pure.study.score_files import Scored
from lit_pure.study.workers import Progress, score_pairs, worker_pool


@dataclass(frozen=True)
class Recheck:
    """How a job came out the second time."""

    job: Job
    same: int
    """Pictures of which every byte is the same."""
    of: int
    """Pictures that were made again."""
    differences: dict[str, float]
    """By metric, how far the score of a picture lies from the one that is kept, at most; zeros are left out."""

    @property
    def agrees(self) -> bool:
        """Whether all is as it was."""
        return self.same == self.of and not self.differences


def recheck_jobs(jobs: Sequence[Job], out: Path, most: int, workers: int, progress: Progress) -> Iterator[Recheck]:
    """Make pictures of finished jobs anew, LQ pictures included.

    Args:
        jobs: finished ones, in their order.
        out: where scores of finished jobs are kept.
        most: pictures of each, the first ones; 0 takes all.
        workers: processes, each computing with one thread; 1 computes here, with one thread too.
        progress: told when a picture is done.

    Raises:
        ValueError: a picture cannot be used. OSError: something cannot be written.
    """
    with tempfile.TemporaryDirectory() as folder, worker_pool(workers) as pool:
        for job in jobs:
            pairs = list(islice(job.pictures.pairs(Path(folder)), most or None))
            made = dict[str, Scored]()
            for name, scored in score_pairs(job, pairs, None, pool):
                made[name] = scored
                progress(job, len(made))
            yield _compare(job, score_files.read(job, out), made)


def _compare(job: Job, kept: dict[str, Scored], made: dict[str, Scored]) -> Recheck:
    """What was made beside the same pictures of what is kept."""
    same = sum(made[name].crc32 == kept[name].crc32 for name in made)
    differences = {
        key: most
        for key in job.metrics
        if (most := max(_score_difference(made[name].scores[key], kept[name].scores[key]) for name in made)) > 0
    }
    return Recheck(job, same, len(made), differences)


def _score_difference(one: float, other: float) -> float:
    """As scores are kept, to five decimals; a score that only one of them has is infinitely far."""
    if math.isnan(one) or math.isnan(other):
        return 0.0 if math.isnan(one) and math.isnan(other) else math.inf
    return abs(float(f"{one:.5f}") - other)
