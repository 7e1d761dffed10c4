"""Sizes and decoding of the next-scale transformer: what fits, and what is refused."""

import pytest

from lit_pure.config.next_scale import SIZES, NextScaleConfig, ScaleSamplingConfig, next_scale_size, per_scale


@pytest.mark.parametrize("name", SIZES)
def test_sizes_are_legal(name: str) -> None:
    assert not list(next_scale_size(name).problems())


def test_an_unknown_size_is_refused() -> None:
    with pytest.raises(ValueError, match=r"choose one of nano, .*8b"):
        next_scale_size("20b")


def test_heads_that_do_not_fit_are_problems() -> None:
    problems = dict(NextScaleConfig(width=24, heads=4, pool_heads=5).problems())
    assert "multiples of 4" in problems["heads"] and "equal parts" in problems["pool_heads"]
    assert dict(ScaleSamplingConfig(tau=[]).problems()).keys() == {"tau"}


def test_values_per_scale() -> None:
    assert per_scale([0.5], 3, "tau") == [0.5, 0.5, 0.5]
    assert per_scale([1.0, 2.0], 2, "tau") == [1.0, 2.0]
    with pytest.raises(ValueError, match="guidance has 2 values for 3 scales"):
        per_scale([1.0, 2.0], 3, "guidance")
    assert not ScaleSamplingConfig().guided and ScaleSamplingConfig(guidance=[1.0, 1.5]).guided
