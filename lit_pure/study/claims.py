"""What the scores of a study say: means, differences picture by picture, and whether a claim holds.

Knows scores by arm, set and picture. A picture's score is its mean over seeds; pictures are what is resampled. Knows
nothing of how scores were made or how they are shown.
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
"""By arm and set: for each seed that is done, the scores by picture."""
Answer = Literal["holds", "does not hold", "is left open"]


@dataclass(frozen=True)
class ClaimResult:
    """Whether a claim holds on one set."""

    claim: Claim
    on: str
    difference: Interval
    """Of the better arm minus the other, picture by picture, in the metric's unit."""
    wins: int
    """Pictures on which the better arm is better."""
    seeds: tuple[int, int]
    """Seeds that each arm's scores are means over."""

    @property
    def answer(self) -> Answer:
        """By the interval of the difference beyond what is claimed."""
        up = METRICS[self.claim.metric].higher_is_better if self.claim.metric in METRICS else True
        ends = sorted((1 if up else -1) * end - self.claim.by for end in (self.difference.low, self.difference.high))
        if not self.difference.known or ends[0] <= 0 <= ends[1]:
            return "is left open"
        return "holds" if ends[0] > 0 else "does not hold"


def by_picture(seeds: Sequence[Mapping[str, Scored]], metric: str) -> dict[str, float]:
    """A metric's score of each picture that every seed has one of: their mean."""
    names = [name for name in (seeds[0] if seeds else {}) if all(name in one for one in seeds)]
    means = {name: float(np.mean([one[name].scores.get(metric, math.nan) for one in seeds])) for name in names}
    return {name: mean for name, mean in means.items() if math.isfinite(mean)}


def mean(seeds: Sequence[Mapping[str, Scored]], metric: str) -> Interval:
    """A metric's mean over pictures, with its interval."""
    return mean_of(metric, by_picture(seeds, metric).values())


def spread(seeds: Sequence[Mapping[str, Scored]], metric: str) -> float:
    """How far the means of single seeds lie apart: the largest minus the smallest."""
    means = [mean([one], metric).mean for one in seeds]
    return max(means) - min(means) if means else math.nan


def judge_claims(claims: Sequence[Claim], scores: Scores, sets: Sequence[str]) -> list[ClaimResult]:
    """Each claim on each set that both arms have scores of."""
    found = []
    for claim in claims:
        for on in [claim.on] if claim.on else sets:
            seeds = scores.get((claim.better, on), []), scores.get((claim.than, on), [])
            ours, theirs = (by_picture(one, claim.metric) for one in seeds)
            both = sorted(ours.keys() & theirs.keys())
            if both:
                apart_N = np.array([ours[name] - theirs[name] for name in both])
                up = METRICS[claim.metric].higher_is_better if claim.metric in METRICS else True
                difference = bootstrap_mean(apart_N, np.random.default_rng(SEED))
                wins = int(((apart_N if up else -apart_N) > 0).sum())
                found.append(ClaimResult(claim, on, difference, wins, (len(seeds[0]), len(seeds[1]))))
    return found
