"""Intervals reach their level: coverage by simulation, closed forms and scipy as oracles.

Simulations are seeded once (SEED, the first one taken): the figures below are the same on every run.
"""

import math
from collections.abc import Callable

import numpy as np
import pytest
from scipy.stats import binomtest, norm, t

from lit_pure.metrics.intervals import LEAST, bootstrap_mean, paired_difference, sign_test

SEED = 20250311
Draw = Callable[[np.random.Generator, int], np.ndarray]


def normal(rng: np.random.Generator, count: int) -> np.ndarray:
    """PSNR-like: mean 25 dB."""
    return rng.normal(25, 3, count)


def skewed(rng: np.random.Generator, count: int) -> np.ndarray:
    """LPIPS-like with a heavy tail: exponential, mean 25."""
    return rng.exponential(25, count)


def coverage(draw: Draw, count: int, draws: int = 999) -> float:
    """Share of 1,000 samples whose interval holds the true mean, 25."""
    rng = np.random.default_rng(SEED)
    found = [bootstrap_mean(draw(rng, count), rng, draws=draws) for _ in range(1000)]
    return float(np.mean([one.low <= 25 <= one.high for one in found]))


@pytest.mark.parametrize("count", [20, 100])
@pytest.mark.parametrize("draw", [normal, skewed])
def test_95_percent_intervals_cover_the_true_mean(draw: Draw, count: int) -> None:
    assert 0.93 <= coverage(draw, count) <= 0.97


@pytest.mark.parametrize("count", [LEAST, 10])
def test_intervals_of_few_pictures_hold_the_mean_and_stay_narrow(count: int) -> None:
    """The mean is held, and not by being useless: the width is of the order of Student's (of the true spread)."""
    assert 0.93 <= coverage(normal, count) <= 0.97
    rng = np.random.default_rng(SEED)
    found = [bootstrap_mean(normal(rng, count), rng, draws=999) for _ in range(600)]
    students = 2 * t.ppf(0.975, count - 1) * 3 / math.sqrt(count)
    width = np.array([one.high - one.low for one in found]) / students
    assert 0.9 < np.median(width) < 1.15 and np.quantile(width, 0.95) < 2


def test_fewer_than_eight_pictures_have_a_sign_test_and_no_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    values = [24.0, 25.5, 27.0, 23.0, 26.0, 25.0, 28.0]
    assert LEAST == 8 and bootstrap_mean([*values, 22.0], np.random.default_rng(0)).known
    found = bootstrap_mean(values, np.random.default_rng(0))
    assert not found.known and found.mean == pytest.approx(25.5) and found.n == 7
    both = paired_difference(values, [value - 1 for value in values], np.random.default_rng(0))
    assert not both.difference.known and both.difference.mean == pytest.approx(1)
    assert both.wins == 7 and both.p == pytest.approx(2 / 2**7)
    monkeypatch.setattr("lit_pure.metrics.intervals.LEAST", 4)
    rng = np.random.default_rng(SEED)
    wide = [bootstrap_mean(normal(rng, 4), rng, draws=999) for _ in range(300)]
    students = 2 * t.ppf(0.975, 3) * 3 / math.sqrt(4)
    assert np.median([one.high - one.low for one in wide]) > 1.5 * students, "why there is a least"


def test_a_percentile_interval_would_hold_the_mean_too_rarely() -> None:
    """Why the studentized one: at 20 pictures the plain bootstrap holds the mean of the skewed scores too rarely."""
    rng = np.random.default_rng(SEED)
    held = 0
    for _ in range(1000):
        values = skewed(rng, 20)
        low, high = np.quantile(values[rng.integers(20, size=(999, 20))].mean(1), [0.025, 0.975])
        held += low <= 25 <= high
    assert held / 1000 < 0.93


@pytest.mark.parametrize("level", [0.8, 0.95, 0.99])
def test_normal_scores_get_students_interval(level: float) -> None:
    values = 25 + 3 * norm.ppf((np.arange(60) + 0.5) / 60)
    error = values.std(ddof=1) / math.sqrt(60)
    found = bootstrap_mean(values, np.random.default_rng(SEED), level=level)
    expected = t.interval(level, 59, loc=values.mean(), scale=error)
    assert found.mean == pytest.approx(25) and found.n == 60
    assert [found.low, found.high] == pytest.approx(expected, abs=0.1 * error)


def test_a_long_tail_reaches_further_on_its_side() -> None:
    found = bootstrap_mean(skewed(np.random.default_rng(SEED), 30), np.random.default_rng(SEED))
    assert found.high - found.mean > 1.2 * (found.mean - found.low)


def test_no_interval_leaves_the_range_of_its_metric() -> None:
    values, rng = [0.99, 0.98, 0.99, 0.5, 0.97, 0.98, 0.99, 0.96], np.random.default_rng
    free, bound = bootstrap_mean(values, rng(0)), bootstrap_mean(values, rng(0), bounds=(0, 1))
    assert free.high > 1 == bound.high and bound.low == max(0, free.low)
    assert bootstrap_mean(values, rng(0), bounds=(0, 0.6)).high == 0.99, "unless a value does"
    differs_in_size = paired_difference(values, [0.5] * 8, rng(0), bounds=(0.4, 0.6)).difference
    assert differs_in_size.high == pytest.approx(0.49) and differs_in_size.low >= -0.2


def test_an_interval_does_not_depend_on_units() -> None:
    values = skewed(np.random.default_rng(SEED), 30)
    one = bootstrap_mean(values, np.random.default_rng(1))
    other = bootstrap_mean(1000 - 10 * values, np.random.default_rng(1))
    assert [1000 - 10 * one.high, 1000 - 10 * one.low] == pytest.approx([other.low, other.high])


@pytest.mark.parametrize("values", [[3.0], [3.0, 4.0], [3.0, 4.0, 6.0], [0.1] * 9, [1.0] * 9, [0.1] * 60 + [0.7]])
def test_values_that_cannot_tell_their_spread_have_no_interval(values: list[float]) -> None:
    found = bootstrap_mean(values, np.random.default_rng(SEED))
    assert not found.known and math.isnan(found.high)
    assert found.mean == pytest.approx(np.mean(values)) and found.n == len(values)


def test_intervals_of_no_scores_are_nan_and_nonsense_is_refused() -> None:
    empty = bootstrap_mean([], np.random.default_rng(SEED))
    assert math.isnan(empty.mean) and empty.n == 0 and not empty.known
    with pytest.raises(ValueError, match="1 of 3 scores are not finite"):
        bootstrap_mean([1, 2, math.nan], np.random.default_rng(SEED))
    for level, draws in ((1.0, 999), (0.0, 999), (0.999, 999), (1.5, 999)):
        with pytest.raises(ValueError, match="use a level"):
            bootstrap_mean([1, 2, 3], np.random.default_rng(SEED), level=level, draws=draws)
    with pytest.raises(ValueError, match="3 scores against 2"):
        paired_difference([1, 2, 3], [1, 2], np.random.default_rng(SEED))


def test_large_sets_are_resampled_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    values = normal(np.random.default_rng(SEED), 50)
    whole = bootstrap_mean(values, np.random.default_rng(1))
    monkeypatch.setattr("lit_pure.metrics.intervals._BLOCK", 1000)
    assert bootstrap_mean(values, np.random.default_rng(1)) == whole


@pytest.mark.parametrize(("wins", "losses"), [(0, 0), (1, 0), (5, 5), (2, 9), (61, 39), (700, 620)])
def test_sign_test_is_scipys(wins: int, losses: int) -> None:
    expected = binomtest(wins, wins + losses).pvalue if wins + losses else 1.0
    assert sign_test(wins, losses) == pytest.approx(expected) == sign_test(losses, wins)


def test_a_tenth_of_a_decibel_is_found_by_pairing_alone() -> None:
    rng = np.random.default_rng(SEED)
    b = rng.normal(25, 3, 100)
    a = b + 0.1 + rng.normal(0, 0.2, 100)
    mean_a, mean_b = (bootstrap_mean(values, np.random.default_rng(0)) for values in (a, b))
    assert mean_a.low < mean_b.mean < mean_a.high and mean_b.low < mean_a.mean < mean_b.high, "unpaired: no difference"
    found = paired_difference(a, b, np.random.default_rng(0))
    assert 0.03 < found.difference.low < 0.1 < found.difference.high < 0.17
    assert found.p < 0.01 and found.wins > found.losses and found.wins + found.losses + found.ties == 100


def test_paired_scores_without_a_difference_show_none() -> None:
    rng = np.random.default_rng(SEED)
    found = []
    for _ in range(400):
        b = rng.normal(25, 3, 40)
        found.append(paired_difference(b + rng.normal(0, 0.2, 40), b, rng, draws=999))
    assert np.mean([one.p < 0.05 for one in found]) <= 0.05 + 0.02, "discrete: at most the level"
    assert 0.93 <= np.mean([one.difference.low <= 0 <= one.difference.high for one in found]) <= 0.97


def test_wins_depend_on_the_metric_s_direction_and_the_difference_does_not() -> None:
    a, b = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0], [2.0, 2.5, 3.5, 4.0, 3.0, 9.0]
    up = paired_difference(a, b, np.random.default_rng(0))
    down = paired_difference(a, b, np.random.default_rng(0), higher_is_better=False)
    assert (up.wins, up.losses, up.ties) == (1, 4, 1) and (down.wins, down.losses, down.ties) == (4, 1, 1)
    assert up.difference == down.difference and up.p == down.p and up.difference.mean == pytest.approx(-0.5)
