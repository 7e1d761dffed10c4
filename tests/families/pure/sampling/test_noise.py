"""Gumbel noise: its distribution, and that a cell has its own wherever and whenever it is asked for."""

import torch
from scipy import stats

from lit_pure.families.pure.sampling.noise import GumbelNoise

CPU = torch.device("cpu")


def row(noise: GumbelNoise, number: int) -> torch.Tensor:
    """Noise (B, w, N) of one row of every picture."""
    return noise.cells([number * noise.width] * len(noise.images), noise.width)


def test_noise_is_fixed_per_seed_image_and_position() -> None:
    together = row(GumbelNoise(5, [1, 2], 4, 30, CPU), 3)
    assert torch.equal(together[1], row(GumbelNoise(5, [2], 4, 30, CPU), 3)[0])
    others = [row(GumbelNoise(6, [2], 4, 30, CPU), 3), row(GumbelNoise(5, [9], 4, 30, CPU), 3)]
    others.append(row(GumbelNoise(5, [2], 4, 30, CPU), 2))
    assert not any(torch.equal(together[1:], other) for other in others)


def test_noise_is_gumbel_s() -> None:
    many = row(GumbelNoise(0, [0], 1, 50_000, CPU), 0).flatten()
    assert stats.kstest(many.numpy(), "gumbel_r").pvalue > 0.001


def test_windows_are_parts_of_rows() -> None:
    noise = GumbelNoise(5, [1, 2], 4, 30, CPU)
    whole = torch.cat([row(noise, number) for number in range(5)], dim=1)
    for first in ([0, 0], [3, 7], [5, 4], [0, 11]):
        window = noise.cells(first, 6)
        for picture, start in enumerate(first):
            assert torch.equal(window[picture], whole[picture, start : start + 6])
        each = noise.each(first)
        assert torch.equal(each, torch.stack([whole[picture, start][None] for picture, start in enumerate(first)]))
    assert len(noise._rows) <= 6, "rows that no window needs any more are let go"
