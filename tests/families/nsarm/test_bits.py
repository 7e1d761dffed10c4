"""How a bit is drawn: sorting and summing as oracle, recorded draws, and noise that is a bit's own."""

import numpy as np
import pytest
import torch
from scipy import stats

from lit_pure.bench.scale_loop import sort_and_sample
from lit_pure.families.nsarm.bits import BitNoise, draw_bits, guide, probability_of_one
from tests.golden import golden, tensor

CPU = torch.device("cpu")


@pytest.mark.parametrize("top_p", [0.6, 0.9, 0.97, 1.0])
def test_closed_form_draws_what_sorting_draws(top_p: float) -> None:
    logits = 4 * torch.randn(2, 3000, 5, 2)
    uniform = torch.rand(2, 3000, 5)
    assert torch.equal(draw_bits(logits, top_p, uniform), sort_and_sample(logits, top_p, uniform))


def test_probabilities_are_clipped_where_the_likelier_value_is_likely_enough() -> None:
    p1 = torch.tensor([0.001, 0.029, 0.031, 0.5, 0.969, 0.971, 0.999], dtype=torch.float64)
    logits = torch.stack([torch.zeros_like(p1), torch.logit(p1)], dim=-1)
    expected = [0, 0, 0.031, 0.5, 0.969, 1, 1]
    assert probability_of_one(logits, 0.97).tolist() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("tau", [1.0, 0.5])
def test_recorded_draws(tau: float) -> None:
    values = golden("g_sampling")
    logits = tensor(values["logits"])[:, :, None] / tau
    p1 = probability_of_one(logits, float(values["top_p"]))[..., 0]
    expected = values[f"tau{tau}/p1_after_clip"]
    assert np.abs(p1.numpy() - expected).max() <= 6e-7
    assert np.array_equal(np.isin(p1, [0, 1]), np.isin(expected, [0, 1])), "the same bits are certain"
    bits = draw_bits(logits, float(values["top_p"]), tensor(values[f"tau{tau}/uniform"])[None, :, None])[..., 0]
    assert np.array_equal(bits.numpy(), values[f"tau{tau}/bits"])


def test_a_bit_is_one_as_often_as_its_probability_says() -> None:
    logits = torch.tensor([0.3, -0.6]).expand(1, 20_000, 1, 2)
    ones = int(draw_bits(logits, 0.97, BitNoise(0, [0], CPU)(0, 20_000, 1)).sum())
    probability = float(torch.sigmoid(torch.tensor(-0.9)))
    assert stats.binomtest(ones, 20_000, probability).pvalue > 0.001


def test_noise_belongs_to_seed_picture_and_scale() -> None:
    together = BitNoise(5, [1, 2], CPU)(3, 4, 6)
    assert together.shape == (2, 4, 6) and 0 <= float(together.min()) and float(together.max()) < 1
    assert torch.equal(together[1], BitNoise(5, [2], CPU)(3, 4, 6)[0])
    others = [BitNoise(6, [2], CPU)(3, 4, 6), BitNoise(5, [9], CPU)(3, 4, 6), BitNoise(5, [2], CPU)(2, 4, 6)]
    assert not any(torch.equal(together[1:], other) for other in others)


def test_guidance_moves_from_unconditional_to_conditional() -> None:
    conditional, unconditional = torch.randn(4), torch.randn(4)
    assert torch.equal(guide(conditional, unconditional, 1.0), conditional)
    assert torch.equal(guide(conditional, unconditional, 0.0), unconditional)
    expected = unconditional + 3 * (conditional - unconditional)
    assert torch.allclose(guide(conditional, unconditional, 3.0), expected, atol=1e-6)
