"""Codes that are read wrong: ones like them, as many as asked for, each sample by its own draws."""

import numpy as np
import torch
import torch.nn.functional as F

from lit_pure.models.near_codes import NEAR, NearCodes

VECTORS_NC = F.normalize(torch.randn(200, 4, generator=torch.Generator().manual_seed(0)), dim=-1)


def rngs(*rows: int) -> list[np.random.Generator]:
    return [np.random.default_rng([0, row]) for row in rows]


def test_a_code_like_another_is_among_those_with_the_largest_cosines() -> None:
    near = NearCodes(VECTORS_NC)
    codes_N = torch.arange(200)
    for which in (0, NEAR - 1):
        found_N = near.like(codes_N, torch.full((200,), which))
        cosines_NN = VECTORS_NC @ VECTORS_NC.T
        above_N = (cosines_NN > cosines_NN.gather(1, found_N[:, None])).sum(1)
        assert (above_N - 1 == which).all(), "the code itself and `which` others are more like it"


def test_a_small_codebook_has_fewer_codes_near_one() -> None:
    near = NearCodes(VECTORS_NC[:5])
    assert near.near_NK.shape == (5, 4) and not (near.near_NK == torch.arange(5)[:, None]).any()


def test_each_sample_draws_its_share_up_to_the_largest() -> None:
    """The mean is half of it: 400 samples of 36 codes; three standard errors of uniform shares and binomial cells."""
    wrong_Bhw, which_Bhw = NearCodes(VECTORS_NC).draw((6, 6), 0.8, rngs(*range(400)))
    share_B = wrong_Bhw.float().mean((1, 2))
    assert abs(float(share_B.mean()) - 0.4) < 3 * float(share_B.std()) / 400**0.5
    assert float(share_B.max()) > 0.65 and float(share_B.min()) < 0.15
    counts_K = which_Bhw.flatten().bincount(minlength=NEAR)
    expected = which_Bhw.numel() / NEAR
    assert float(((counts_K - expected) ** 2 / expected).sum()) < 120, "chi-square of 63 degrees, p > 1e-4"


def test_a_sample_s_draws_do_not_depend_on_its_batch() -> None:
    near = NearCodes(VECTORS_NC)
    whole, part = near.draw((3,), 1.0, rngs(0, 1, 2)), near.draw((3,), 1.0, rngs(1))
    assert all(torch.equal(one[1:2], other) for one, other in zip(whole, part, strict=True))
