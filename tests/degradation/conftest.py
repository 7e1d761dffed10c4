"""Synthetic photographs: gradients, waves, edges and texture, the same on every machine."""

import pytest
import torch
from torch import Tensor

from lit_pure.bench.basicsr_import import load_basicsr


def picture(height: int, width: int, seed: int) -> Tensor:
    """image_3HW in [0, 1]."""
    generator = torch.Generator().manual_seed(seed)
    y, x = torch.meshgrid(torch.arange(height) / 16, torch.arange(width) / 16, indexing="ij")
    checks = ((x.floor() + y.floor()) % 2) * 0.6 + 0.2
    planes = torch.stack([0.5 + 0.4 * torch.sin(3 * x + seed), 0.5 + 0.4 * torch.cos(x + 2 * y), checks])
    return (planes + 0.05 * torch.randn(planes.shape, generator=generator)).clamp(0, 1)


@pytest.fixture(scope="session")
def hq_B3HW() -> Tensor:
    """Three images of 96 x 64 px."""
    return torch.stack([picture(96, 64, seed) for seed in range(3)])


@pytest.fixture(scope="session")
def basicsr() -> None:
    """Makes `import basicsr...` possible inside a test."""
    load_basicsr()
