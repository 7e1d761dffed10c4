"""Evaluates the scores of a study: means, differences picture by picture, and whether a claim holds.

Knows scores by arm, set and picture. The score of a picture is its mean over seeds; the bootstrap resamples pictures.
Knows nothing of how scores were made or how they are shown.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from lit_pure.metrics.evaluation import SEED, mean_of
from lit_pure.metrics.intervals import Interval, bootstrap_mean
from lit_pure.metrics.table import METRICS
from lit_pure.study.plan import Claim
from lit_pure.study.score_files import Scored

Scores = Mapping[tuple[str, str], Sequence[Mapping[str, Scored]]]
"""By arm and set: for each finished seed, the scores by picture."""
Answer = Literal["holds", "does not hold", "is left open"]


@dataclass(frozen=True)
class ClaimResult:
    """Whether a claim holds on one set."""

    claim: Claim
    on: str
    difference: Interval
    """The arm that is claimed to be better minus the other, picture by picture, in the metric's unit."""
    wins: int
    """Pictures on which the better arm is better."""
    seeds: tuple[int, int]
    """Number of seeds of each arm."""

    @property
    def answer(self) -> Answer:
        """The answer, from the interval of the difference minus the claimed amount."""
        up = METRICS[self.claim.metric].higher_is_better if self.claim.metric in METRICS else True
        ends = sorted((1 if up else -1) * end - self.claim.by for end in (self.difference.low, self.difference.high))
        if not self.difference.known or ends[0] <= 0 <= ends[1]:
            return "is left open"
        return "holds" if ends[0] > 0 else "does not hold"


def by_picture(seeds: Sequence[Mapping[str, Scored]], metric: str) -> dict[str, float]:
    """The mean over seeds of a metric, for each picture that all seeds have a score of."""
    names = [name for name in (seeds[0] if seeds else {}) if all(name in one for one in seeds)]
    means = {name: float(np.mean([one[name].scores.get(metric, math.nan) for one in seeds])) for name in names}
    return {name: mean for name, mean in means.items() if math.isfinite(mean)}


def mean(seeds: Sequence[Mapping[str, Scored]], metric: str) -> Interval:
    """A metric's mean over pictures, with its interval."""
    return mean_of(metric, by_picture(seeds, metric).values())


def spread(seeds: Sequence[Mapping[str, Scored]], metric: str) -> float:
    """The largest minus the smallest mean of a single seed."""
    means = [mean([one], metric).mean for one in seeds]
    return max(means) - min(means) if means else math.nan


def judge_claims(claims: Sequence[Claim], scores: Scores, sets: Sequence[str]) -> list[ClaimResult]:
    """The results of all claims, on each set that both arms have scores of."""
    found = []
    for claim in claims:
        for on in [claim.on] if claim.on else sets:
            seeds = scores.get((claim.better, on), []), scores.get((claim.than, on), [])
            ours, theirs = (by_picture(one, claim.metric) for one in seeds)
            both = sorted(ours.keys() & theirs.keys())
            if both:
                difference_N = np.array([ours[name] - theirs[name] for name in both])
                up = METRICS[claim.metric].higher_is_better if claim.metric in METRICS else True
                difference = bootstrap_mean(difference_N, np.random.default_rng(SEED))
                wins = int(((difference_N if up else -difference_N) > 0).sum())
                found.append(ClaimResult(claim, on, difference, wins, (len(seeds[0]), len(seeds[1]))))
    return found
