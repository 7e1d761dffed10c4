"""The schedule against its closed form, and AdamW's settings."""

import math

import pytest
import torch

from lit_pure.config.schema import OptimConfig
from lit_pure.lit.schedule import configure, learning_rate


def test_warm_up_is_linear_and_decay_is_half_a_cosine() -> None:
    config = OptimConfig(lr=4e-4, min_lr=1e-5, warmup=0.25)
    assert learning_rate(0, 400, config) == pytest.approx(4e-4 / 101)
    assert learning_rate(49, 400, config) == pytest.approx(4e-4 * 50 / 101)
    assert learning_rate(100, 400, config) == pytest.approx(4e-4)
    assert learning_rate(250, 400, config) == pytest.approx((4e-4 + 1e-5) / 2)
    assert learning_rate(325, 400, config) == pytest.approx(1e-5 + 3.9e-4 * (1 + math.cos(0.75 * math.pi)) / 2)
    assert learning_rate(400, 400, config) == pytest.approx(1e-5) == learning_rate(999, 400, config)


def test_no_warm_up_starts_at_the_peak() -> None:
    assert learning_rate(0, 100, OptimConfig(lr=1e-3, warmup=0.0)) == pytest.approx(1e-3)


def test_the_optimizer_follows_the_schedule() -> None:
    config = OptimConfig(lr=1e-2, warmup=0.5, weight_decay=0.1)
    parameter = torch.nn.Parameter(torch.ones(3))
    made = configure([parameter], config, max_steps=10)
    optimizer, scheduler = made["optimizer"], made["lr_scheduler"]["scheduler"]  # type: ignore[index]
    assert isinstance(optimizer, torch.optim.AdamW)
    assert optimizer.defaults["betas"] == (0.9, 0.95) and optimizer.defaults["weight_decay"] == 0.1
    for step in range(10):
        assert optimizer.param_groups[0]["lr"] == pytest.approx(learning_rate(step, 10, config))
        optimizer.step()
        scheduler.step()
