"""Severities reach the ends, change only their factor, and have a monotone effect on an image."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from lit_pure.config.data import DegradationConfig
from lit_pure.degradation.kernels import DELTA
from lit_pure.degradation.numbers import Degradation, Noise
from lit_pure.degradation.pipeline import apply, draw
from lit_pure.degradation.severity import with_blur, with_noise

CONFIG = DegradationConfig()
SEVERITIES = (0.0, 0.25, 0.5, 0.75, 1.0)


@pytest.fixture
def base() -> Degradation:
    """Gaussian noise first, Poisson noise second, good JPEG, no resize but the last."""
    degradation = draw(CONFIG, np.random.default_rng(0))
    return replace(
        degradation,
        noise1=Noise("gaussian", 5.0, False, 1),
        noise2=Noise("poisson", 0.3, True, 2),
        quality1=95.0,
        quality2=95.0,
        resize1=replace(degradation.resize1, factor=1.0),
        resize2=replace(degradation.resize2, factor=1.0),
    )


def test_blur_of_severity_0_is_none_and_of_1_the_strongest(base: Degradation) -> None:
    none, worst = with_blur(base, CONFIG, 0.0), with_blur(base, CONFIG, 1.0)
    assert none.blur1 == none.blur2 == none.sinc == worst.sinc == DELTA
    assert (worst.blur1.sigma_x, worst.blur1.sigma_y, worst.blur2.sigma_x) == (3.0, 3.0, 1.5)
    assert with_blur(base, CONFIG, 0.5).blur1.sigma_x == pytest.approx(1.6)
    assert replace(worst, blur1=base.blur1, blur2=base.blur2, sinc=base.sinc) == base


def test_noise_of_severity_0_is_none_and_of_1_the_strongest(base: Degradation) -> None:
    none, worst = with_noise(base, CONFIG, 0.0), with_noise(base, CONFIG, 1.0)
    assert none.noise1.strength == none.noise2.strength == 0
    assert (worst.noise1.strength, worst.noise2.strength) == (30.0, 2.5)
    assert with_noise(base, CONFIG, 0.5).noise2.strength == pytest.approx(1.275)
    restored = [
        replace(new, strength=old.strength) for new, old in ((worst.noise1, base.noise1), (worst.noise2, base.noise2))
    ]
    assert replace(worst, noise1=restored[0], noise2=restored[1]) == base


def test_gradients_of_a_picture_fall_with_the_severity_of_blur(base: Degradation, hq_B3HW: Tensor) -> None:
    silent = with_noise(base, CONFIG, 0.0)
    energy = torch.stack(
        [apply(hq_B3HW[0], with_blur(silent, CONFIG, s), 4).diff(dim=-1).square().mean() for s in SEVERITIES]
    )
    assert (energy.diff() < 0).all() and energy[-1] < energy[0] / 2


def test_a_picture_leaves_its_silent_twin_with_the_severity_of_noise(base: Degradation, hq_B3HW: Tensor) -> None:
    images = [apply(hq_B3HW[0], with_noise(base, CONFIG, s), 4) for s in SEVERITIES]
    distance = torch.stack([(image - images[0]).square().mean() for image in images])
    assert (distance.diff() > 0).all()


def test_severity_without_a_second_stage_varies_the_first_alone(base: Degradation, hq_B3HW: Tensor) -> None:
    """`draw` leaves a second stage out so; the severities still order images."""
    config = replace(CONFIG, second_order_prob=0.0, jpeg_prob2=0.0)
    drawn = draw(config, np.random.default_rng(0))
    assert drawn.resize2 is None
    blurred, noisy = with_blur(drawn, config, 1.0), with_noise(drawn, config, 1.0)
    assert blurred.blur1.sigma_x == 3.0 and blurred.blur2 == DELTA
    assert noisy.noise1.strength in (30.0, 3.0) and noisy.noise2 == drawn.noise2 and drawn.noise2.strength == 0
    single = replace(base, blur2=DELTA, resize2=None, noise2=drawn.noise2, quality1=None, quality2=None)
    clean, half, worst = (apply(hq_B3HW[0], with_noise(single, config, s), 4) for s in (0.0, 0.5, 1.0))
    assert (half - clean).square().mean() * 2 < (worst - clean).square().mean()


def test_severity_adds_no_step_that_the_process_never_draws(base: Degradation) -> None:
    config = replace(CONFIG, blur_prob=0.0, noise_prob=0.0)
    silent = replace(base, blur1=DELTA, noise1=replace(base.noise1, strength=0.0))
    blurred, noisy = with_blur(silent, config, 1.0), with_noise(silent, config, 1.0)
    assert blurred.blur1 == DELTA and blurred.blur2.sigma_x == 1.5
    assert noisy.noise1.strength == 0 and noisy.noise2.strength == 2.5
    assert with_blur(base, replace(CONFIG, second_blur_prob=0.0), 1.0).blur2 == DELTA


@pytest.mark.parametrize("severity", [-0.1, 1.1, float("nan")])
def test_a_severity_out_of_range_is_refused(base: Degradation, severity: float) -> None:
    for change in (with_blur, with_noise):
        with pytest.raises(ValueError, match="give 0"):
            change(base, CONFIG, severity)
