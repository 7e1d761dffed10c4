"""Bytes against what tensors of known sizes take."""

import pytest
import torch

from lit_pure.bench.memory import LiveBytes


def test_the_peak_memory_is_the_most_that_was_held_at_one_time() -> None:
    with LiveBytes() as live:
        first = torch.empty(1000)
        second = torch.empty(500, dtype=torch.float64)
        del first
        third = torch.empty(10, dtype=torch.uint8)
    assert live.peak == 8000 and live.end == 4010
    del second, third


def test_the_peak_memory_includes_what_an_operation_needs_for_itself() -> None:
    """The logarithm of a sum of exponentials copies its input; the result alone is a thousandth of that."""
    values = torch.randn(100, 1000)
    with LiveBytes() as live:
        values.logsumexp(-1)
    assert 400_000 < live.peak < 410_000 and live.end == 0


def test_the_peak_memory_includes_the_backward_pass_and_nothing_from_before() -> None:
    weight, before = torch.ones(1000, requires_grad=True), torch.empty(5000)
    with LiveBytes() as live:
        del before
        weight.square().sum().backward()
    assert live.end == 4000, "the gradient alone is left"
    assert live.peak >= 8000, "the square and what flows back to it"


def test_measuring_memory_lets_an_error_through() -> None:
    live = LiveBytes()
    with pytest.raises(ValueError, match="inside"), live:
        kept = torch.empty(25)
        raise ValueError("inside")
    assert live.end == 100 and len(kept) == 25
