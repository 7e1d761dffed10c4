"""Sampling: the paper's closed form, entropies by hand, Gumbel-max against the softmax."""

import math

import pytest
import torch
from scipy import stats

from lit_pure.config.pure import SamplingConfig
from lit_pure.families.pure.sampling.logits import draw, dynamic_k, entropy, guide, keep_top_k
from lit_pure.families.pure.sampling.noise import GumbelNoise

CPU = torch.device("cpu")


def test_dynamic_k_is_the_paper_s_closed_form() -> None:
    entropies = torch.tensor([0, 2, 4, 5, 6, math.log(16384)])
    assert dynamic_k(entropies, 1, 2000, 5.0).tolist() == [14, 96, 539, 1000, 1462, 1982]


def test_dynamic_k_stays_between_its_ends() -> None:
    k = dynamic_k(torch.linspace(-5, 50, 200), 3, 40, 0.0)
    assert int(k.min()) >= 3 and int(k.max()) == 40
    assert bool((k.diff() >= 0).all())


def test_entropy_of_known_distributions() -> None:
    uniform = torch.zeros(1, 16384)
    certain = torch.tensor([[0.0, -torch.inf, -torch.inf]])
    coin = torch.log(torch.tensor([[0.25, 0.75, 0.0]]))
    found = [float(entropy(logits)) for logits in (uniform, certain, coin)]
    assert found == pytest.approx([math.log(16384), 0, stats.entropy([0.25, 0.75])], abs=1e-5)


def test_guidance_lies_between_for_the_paper_s_scale() -> None:
    conditional, unconditional = torch.tensor([[1.0, 2.0]]), torch.tensor([[0.0, 4.0]])
    assert torch.allclose(guide(conditional, unconditional, 0.8), torch.tensor([[0.8, 2.4]]))
    assert torch.equal(guide(conditional, unconditional, 1.0), conditional)


def test_top_k_keeps_ties_and_each_row_has_its_own_k() -> None:
    logits = torch.tensor([[3.0, 1.0, 2.0, 2.0], [0.0, 5.0, 4.0, 3.0]])
    kept = keep_top_k(logits, torch.tensor([2, 1]), 2).isfinite()
    assert kept.tolist() == [[True, False, True, True], [False, True, False, False]]
    assert bool(keep_top_k(logits, torch.tensor([99, 99]), 99).isfinite().all())


def test_top_1_is_the_argmax_whatever_the_noise() -> None:
    logits = torch.randn(50, 300, generator=torch.Generator().manual_seed(0))
    noise = 100 * torch.rand(50, 300, generator=torch.Generator().manual_seed(1))
    tokens, _, k = draw(logits, noise, SamplingConfig(top_k="fixed", k=1))
    assert torch.equal(tokens, logits.argmax(-1))
    assert bool((k == 1).all())


def test_draws_have_the_distribution_of_the_softmax_after_top_k_and_temperature() -> None:
    config = SamplingConfig(top_k="fixed", k=5, temperature=0.7)
    logits = torch.tensor([0.0, 1.5, 0.3, -1.0, 2.0, 0.9, -3.0, 1.0])
    noise = GumbelNoise(seed=3, images=[7], width=20_000, legal=8, device=CPU).cells([0], 20_000)[0]
    tokens, _, _ = draw(logits.expand(20_000, 8), noise, config)
    expected = torch.softmax(keep_top_k(logits[None], torch.tensor([5]), 5)[0].double() / 0.7, -1) * 20_000
    counts = torch.bincount(tokens, minlength=8)
    assert counts[expected == 0].sum() == 0
    assert stats.chisquare(counts[expected > 0], expected[expected > 0]).pvalue > 0.001


def test_entropy_is_taken_before_temperature_and_top_k() -> None:
    logits = torch.randn(4, 100, generator=torch.Generator().manual_seed(0))
    for config in (SamplingConfig(temperature=0.1), SamplingConfig(top_k="fixed", k=1)):
        assert torch.allclose(draw(logits, torch.zeros(4, 100), config)[1], entropy(logits))


@pytest.mark.parametrize("k", [1, 2, 7, 300])
@pytest.mark.parametrize("spread", [0.1, 1.0, 4.0])
def test_tokens_found_by_a_count_are_those_found_by_the_k_largest(k: int, spread: float) -> None:
    """Also where logits are equal, and where most winners among all tokens are none of the k largest."""
    generator = torch.Generator().manual_seed(k)
    logits = (spread * torch.randn(500, 300, generator=generator)).round(decimals=1)
    logits[:, 200:] = logits[:, :100]
    noise = -(-torch.rand(500, 300, generator=generator).log()).log()
    for config in (SamplingConfig(top_k="fixed", k=k, temperature=0.7), SamplingConfig(k_max=k, mu=3.0)):
        right, found = (draw(logits, noise, config, may_look) for may_look in (False, True))
        assert all(torch.equal(one, other) for one, other in zip(found, right, strict=True))
