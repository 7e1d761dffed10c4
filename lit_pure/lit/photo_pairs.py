"""What a decoder that learns to see the photograph is shown: which codes, and how much of the photograph.

Knows the draws, one generator per sample. Knows nothing of networks.

Shape legend: B batch, h w grid of codes.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from lit_pure.config.tokenizer import PairsConfig, TokenizerExperiment
from lit_pure.datasets.order import PHOTO_DRAW
from lit_pure.lit.data import Batch, generators


@dataclass(frozen=True)
class Pairs:
    """How the pictures of a batch are decoded."""

    fidelity_B: Tensor
    """How much each takes from its photograph, float32 in [0, 1]."""
    from_lq_Bhw: Tensor
    """Cells whose code is the LQ picture's instead of the true one."""
    seen_B: Tensor
    """Pictures that are decoded with their photograph in sight."""


def draw_pairs(config: TokenizerExperiment, batch: Batch, grid: torch.Size) -> Pairs:
    """The draws of a batch, on its device; each sample's come from its own generator."""
    drawn = [_draw(config.pairs, grid, rng) for rng in generators(config.seed, batch, PHOTO_DRAW)]
    device = batch["hq_B3HW"].device
    fidelity_B = torch.tensor([fidelity for fidelity, *_ in drawn], dtype=torch.float32, device=device)
    from_lq_Bhw = torch.from_numpy(np.stack([cells for _, cells, _ in drawn])).to(device)
    return Pairs(fidelity_B, from_lq_Bhw, torch.tensor([seen for *_, seen in drawn], device=device))


def _draw(config: PairsConfig, grid: torch.Size, rng: np.random.Generator) -> tuple[float, np.ndarray, bool]:
    """Fidelity, cells with LQ codes, and whether the photograph is seen: without it codes are right, all there is."""
    if rng.random() >= config.share:
        return 0.0, np.zeros(grid, dtype=bool), False
    fidelity = 1.0 if rng.random() < config.full else float(rng.random())
    # A power of a uniform number, with the mean that is asked for.
    share = rng.random() ** (1 / config.lq_codes - 1) if config.lq_codes else 0.0
    return fidelity, rng.random(tuple(grid)) < share, True
