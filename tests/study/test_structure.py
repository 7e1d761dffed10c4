"""Structure of pictures against closed forms, rank correlation against Pearson's correlation of ranks by pandas."""

import math

import numpy as np
import pandas as pd
import pytest
import torch

from lit_pure.study.structure import correlations, edges, spearman, texture


def test_rank_correlation_is_that_of_mean_ranks_and_nan_where_nothing_varies() -> None:
    rng = np.random.default_rng(0)
    for levels in (3, 10, 1000):
        a, b = rng.integers(levels, size=(2, 200)).astype(float)
        b += a
        expected = np.corrcoef(pd.Series(a).rank(), pd.Series(b).rank())[0, 1]
        assert spearman(torch.tensor(a), torch.tensor(b)) == pytest.approx(expected, abs=1e-12)
    assert math.isnan(spearman(torch.ones(5), torch.arange(5.0)))
    with pytest.raises(ValueError, match="4 numbers against 5"):
        spearman(torch.ones(4), torch.ones(5))


def test_a_ramp_has_its_slope_for_edges_and_a_plain_picture_has_none() -> None:
    ramp = torch.arange(32.0).expand(3, 16, 32) * 0.01
    inner = edges(ramp, 8)[:, 1:-1]
    assert torch.allclose(inner, torch.full_like(inner, 0.01), atol=1e-6)
    assert edges(torch.full((3, 16, 16), 0.5), 8).abs().max() < 1e-6


def test_a_chessboard_of_pixels_is_texture_with_the_energy_that_it_has() -> None:
    board = ((torch.arange(16)[:, None] + torch.arange(16)) % 2).float().expand(3, 16, 16)
    # Of the nine pixels around a white one five are white: it lies 4/9 above their mean, a black one as much below.
    assert texture(board, 4)[1:-1, 1:-1].mean() == pytest.approx((4 / 9) ** 2, abs=1e-5)


def test_entropy_that_follows_texture_correlates_with_it() -> None:
    generator = torch.Generator().manual_seed(0)
    strength = torch.linspace(0, 60, 8).repeat_interleave(8)
    picture = (128 + strength * torch.randn(3, 64, 64, generator=generator)).clamp(0, 255).to(torch.uint8)
    rising = torch.arange(8.0).expand(8, 8)
    found = correlations(picture, rising, 8)
    assert found["entropy-texture"] > 0.9 and found["entropy-edges"] > 0.9
    assert correlations(picture, -rising, 8)["entropy-texture"] == pytest.approx(-found["entropy-texture"])
