"""Statistics of scores against numpy and closed forms, and how often their intervals contain the true value."""

import math
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import binom, norm

from lit_pure.metrics.intervals import bootstrap_mean
from lit_pure.study.statistics import Statistic, statistics_of, variance_parts, worst_parts

SCORES_N = np.random.default_rng(3).normal(22, 3, 57)


def of(metric: str, label: str, poor: tuple[float, ...] = ()) -> Statistic:
    return next(one for one in statistics_of(metric, poor) if one.label == label)


def test_parts_have_the_statistic_as_their_mean() -> None:
    assert variance_parts(SCORES_N).mean() == pytest.approx(np.var(SCORES_N, ddof=1), rel=1e-12)
    assert variance_parts(np.array([3.0])) == [0.0]
    for count in (10, 40, 60):  # a tenth is a whole number
        some_N = SCORES_N[:count] if count < 57 else np.resize(SCORES_N, count)
        lowest, highest = np.sort(some_N)[: count // 10], np.sort(some_N)[-(count // 10) :]
        assert worst_parts(some_N, True).mean() == pytest.approx(lowest.mean(), rel=1e-12)
        assert worst_parts(some_N, False).mean() == pytest.approx(highest.mean(), rel=1e-12)


def test_a_picture_counts_in_part_where_a_tenth_is_no_whole_number() -> None:
    scores_N = np.arange(25.0)
    assert worst_parts(scores_N, True).mean() == pytest.approx((0 + 1 + 0.5 * 2) / 2.5)
    assert worst_parts(scores_N, False).mean() == pytest.approx((24 + 23 + 0.5 * 22) / 2.5)
    assert worst_parts(np.array([4.0, 2.0]), True).mean() == pytest.approx(2.0), "the worst of few"


def test_the_worst_tenth_of_many_normal_scores_is_the_closed_form() -> None:
    """Mean below the quantile: mu - sigma phi(z) / 0.1."""
    scores_N = norm.ppf((np.arange(100_000) + 0.5) / 100_000, 20, 2)
    wanted = 20 - 2 * norm.pdf(norm.ppf(0.1)) / 0.1
    assert worst_parts(scores_N, True).mean() == pytest.approx(wanted, abs=1e-3)


def test_poor_pictures_are_on_the_worse_side() -> None:
    low, high = of("psnr", "< 20", (20.0,)), of("niqe", "> 8", (8.0,))
    assert low.parts(np.array([19.9, 20.0, 21.0])).tolist() == [1, 0, 0]
    assert high.parts(np.array([7.0, 8.0, 8.1])).tolist() == [0, 0, 1]
    assert {one.label: one.better for one in statistics_of("niqe", [8.0, 12.0])} == {
        "mean": "lower", "variance": "lower", "worst tenth": "lower", "> 8": "lower", "> 12": "lower",
    }  # fmt: skip


def test_intervals_are_those_of_the_bootstrap_and_stay_in_the_range() -> None:
    variance = of("psnr", "variance").estimate(variance_parts(SCORES_N))
    same = bootstrap_mean(variance_parts(SCORES_N), np.random.default_rng(0))
    assert (variance.low, variance.high) == (same.low, same.high) and variance.low > 0
    tail = of("ssim", "worst tenth").estimate(worst_parts(np.append(np.linspace(0.3, 0.5, 39), 0.02), True))
    assert 0 <= tail.low < tail.mean < tail.high


def test_a_count_s_interval_is_jeffreys() -> None:
    """Brown, Cai and DasGupta 2001, table 5: 1 of 10 has (0.011, 0.381), 5 of 10 (0.224, 0.776)."""
    share = of("psnr", "< 20", (20.0,))
    for found, ends in {1: (0.011, 0.381), 5: (0.224, 0.776)}.items():
        one = share.estimate(np.repeat([1.0, 0.0], [found, 10 - found]))
        assert (one.low, one.high) == pytest.approx(ends, abs=6e-4) and one.mean == found / 10
    none, every = share.estimate(np.zeros(10)), share.estimate(np.ones(10))
    assert none.low == 0 and every.high == 1 and none.high == pytest.approx(1 - every.low)
    held = sum(
        binom.pmf(found, 60, 0.1)
        for found in range(61)
        if (one := share.estimate(np.repeat([1.0, 0.0], [found, 60 - found]))).low <= 0.1 <= one.high
    )
    assert 0.92 < held < 0.98
    assert math.isnan(share.estimate(np.zeros(0)).mean)


@pytest.mark.parametrize(
    ("parts", "true", "least"),
    [(variance_parts, 1.0, 0.90), (lambda x_N: worst_parts(x_N, True), -norm.pdf(norm.ppf(0.1)) / 0.1, 0.93)],
    ids=["variance", "worst tenth"],
)
def test_intervals_hold_the_true_value(
    parts: Callable[[NDArray[np.float64]], NDArray[np.float64]], true: float, least: float
) -> None:
    rng = np.random.default_rng(1)
    found = [bootstrap_mean(parts(rng.normal(size=60)), rng, draws=999) for _ in range(200)]
    assert least <= np.mean([one.low <= true <= one.high for one in found]) <= 0.995
