"""A weakened degradation lies between none and itself, and degrades the less the weaker it is."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from lit_pure.config.data import DegradationConfig
from lit_pure.degradation.pipeline import apply, degrade, draw
from lit_pure.degradation.strength import weaken


def test_full_strength_is_the_degradation_itself_and_none_only_resizes(hq_B3HW: Tensor) -> None:
    drawn = draw(DegradationConfig(), np.random.default_rng(3))
    assert weaken(drawn, 1.0) == drawn
    none = weaken(drawn, 0.0)
    assert (none.noise1.strength, none.noise2.strength, none.quality1, none.quality2) == (0, 0, None, None)
    assert none.resize1.factor == 1 and not none.sharpen
    with pytest.raises(ValueError, match=r"strength 1.5 is out of range"):
        weaken(drawn, 1.5)


def test_each_step_is_half_way_at_half_strength() -> None:
    drawn = draw(DegradationConfig(blur_sigma=(2.0, 2.0), sinc_prob=0, jpeg_range=(40, 40)), np.random.default_rng(0))
    drawn = replace(drawn, resize1=replace(drawn.resize1, factor=0.25))
    half = weaken(drawn, 0.5)
    assert half.blur1.sigma_x == pytest.approx(1.0) and half.quality1 == pytest.approx(70)
    assert half.resize1.factor == pytest.approx(0.5)
    assert half.noise1.strength == pytest.approx(drawn.noise1.strength / 2)


def test_a_picture_comes_the_further_from_the_mild_one_the_stronger_it_is_degraded(hq_B3HW: Tensor) -> None:
    strengths, errors = (0.0, 0.3, 0.6, 1.0), []
    for seed in range(6):
        drawn = replace(draw(DegradationConfig(), np.random.default_rng(seed)), final_mode="area")
        made = [apply(hq_B3HW[0], weaken(drawn, strength), 4) for strength in strengths]
        errors.append([float((one - made[0]).square().mean()) for one in made])
    mean = np.mean(errors, 0)
    assert mean[0] == 0 and mean[0] < mean[1] < mean[2] < mean[3]


def test_the_default_draws_as_before_and_a_range_draws_once_more(hq_B3HW: Tensor) -> None:
    one, other = np.random.default_rng(5), np.random.default_rng(5)
    mixed = DegradationConfig(strength=(0.2, 0.4))
    full, weak = draw(DegradationConfig(), one), draw(mixed, other)
    assert 0.2 * full.noise1.strength <= weak.noise1.strength <= 0.4 * full.noise1.strength
    always = DegradationConfig(strength=(0.0, 0.5), full_strength_prob=1.0)
    assert draw(always, np.random.default_rng(5)) == draw(DegradationConfig(), np.random.default_rng(5))
    rngs = [np.random.default_rng(seed) for seed in range(2)]
    lq, _ = degrade(torch.stack([hq_B3HW[0], hq_B3HW[0]]), mixed, rngs)
    assert lq.shape[-1] == hq_B3HW.shape[-1] // 4


def test_full_strength_comes_as_often_as_asked() -> None:
    """Binomial with 400 draws: 5 standard deviations either side."""
    config, rng = DegradationConfig(strength=(0.0, 0.0), full_strength_prob=0.3), np.random.default_rng(0)
    full = sum(draw(config, rng).noise1.strength > 0 for _ in range(400))
    assert abs(full - 120) < 5 * (400 * 0.3 * 0.7) ** 0.5
