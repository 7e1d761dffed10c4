"""Statistics of a set beyond its mean: how far pictures lie apart, how bad the worst tenth is, how many are poor.

Each is the mean of one number per picture, its parts. So the bootstrap of a mean gives the interval of each, and of the
difference of two methods on the same pictures. Knows numbers. Knows nothing of arms, levels or pages.

The parts of the mean are the scores. Those of the variance are squared distances from the mean. Those of the worst
tenth are q - max(q - x, 0) / 0.1, with q the score that a tenth of the pictures falls short of (Rockafellar and
Uryasev, Optimization of Conditional Value-at-Risk, Journal of Risk 2(3), 2000, equation 4). Both take the mean and q of
the sample for the true ones. The interval of the variance of 60 normal or skewed scores contains the true variance in
92 to 95 of 100 cases instead of 95, that of their worst tenth in 95 to 97 (`tests/study/test_statistics.py`). The worst
tenth of 40 scores is 4 of them: its interval is several times as wide as that of 60.

Suffix: N pictures.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.stats import beta

from lit_pure.metrics.evaluation import SEED
from lit_pure.metrics.intervals import LEVEL, Interval, bootstrap_mean
from lit_pure.metrics.table import info_or_plain

WORST = 0.1
"""Share of the pictures that counts as the worst ones."""

Parts = Callable[[NDArray[np.float64]], NDArray[np.float64]]
"""Scores of N pictures -> N numbers whose mean is the statistic."""


@dataclass(frozen=True)
class Statistic:
    """One statistic of the scores of a set."""

    label: str
    parts: Parts
    better: str
    """"higher", "lower" or "": which of two is better."""
    bounds: tuple[float, float] = (-math.inf, math.inf)
    """Lowest and highest possible value."""
    unit: Literal["score", "squared", "pictures"] = "score"
    """Of the metric, of its square, or a share of pictures."""

    def estimate(self, parts_N: NDArray[np.float64]) -> Interval:
        """The statistic with its 95 % interval; of a share, Jeffreys' interval.

        A share has an interval also where all pictures are alike (Brown, Cai and DasGupta, Interval Estimation for a
        Binomial Proportion, Statistical Science 16(2), 2001, section 4.3, which keeps 0 and 1 as its ends).
        """
        if self.unit != "pictures" or not parts_N.size:
            found = bootstrap_mean(parts_N, np.random.default_rng(SEED))
            # The parts may lie outside the range; unknown ends stay NaN.
            return replace(found, low=max(found.low, self.bounds[0]), high=min(found.high, self.bounds[1]))
        poor, count = float(parts_N.sum()), parts_N.size
        low, high = beta.interval(LEVEL, poor + 0.5, count - poor + 0.5)
        return Interval(poor / count, float(low) if poor else 0.0, float(high) if poor < count else 1.0, count)


def statistics_of(metric: str, poor: Sequence[float] = ()) -> list[Statistic]:
    """Mean, variance and worst tenth of a metric, and the share of pictures beyond each score of `poor`."""
    info = info_or_plain(metric)
    up, bounds = info.higher_is_better, info.range
    better = "higher" if up else "lower"
    beyond = [
        Statistic(f"{'<' if up else '>'} {score:g}", _beyond(score, up), "lower", (0, 1), "pictures") for score in poor
    ]
    return [
        Statistic("mean", np.array, better, bounds),
        Statistic("variance", variance_parts, "lower", (0, math.inf), "squared"),
        Statistic("worst tenth", lambda scores_N: worst_parts(scores_N, up), better, bounds),
        *beyond,
    ]


def variance_parts(scores_N: NDArray[np.float64]) -> NDArray[np.float64]:
    """Numbers whose mean is the variance of the sample (divided by N - 1); zero for a single picture."""
    count = scores_N.size
    squares_N: NDArray[np.float64] = (scores_N - scores_N.mean()) ** 2
    return squares_N * count / max(1, count - 1)


def worst_parts(scores_N: NDArray[np.float64], higher_is_better: bool, share: float = WORST) -> NDArray[np.float64]:
    """Numbers whose mean is the mean of the worst pictures; where their number is no integer, one counts in part.

    Args:
        scores_N: at least one.
        higher_is_better: whether low scores are the worst.
        share: of the worst pictures, in (0, 1).
    """
    losses_N = -scores_N if higher_is_better else scores_N
    ordered = np.sort(losses_N)[::-1]
    edge = ordered[min(int(share * ordered.size + 1e-9), ordered.size - 1)]
    parts_N: NDArray[np.float64] = edge + np.maximum(losses_N - edge, 0) / share
    return -parts_N if higher_is_better else parts_N


def _beyond(score: float, higher_is_better: bool) -> Parts:
    def parts(scores_N: NDArray[np.float64]) -> NDArray[np.float64]:
        return (scores_N < score if higher_is_better else scores_N > score).astype(np.float64)

    return parts
