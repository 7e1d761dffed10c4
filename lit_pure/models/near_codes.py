"""Codes that are read wrong in training: a share of them becomes one of those most like them.

What a backbone draws is seldom the very code that was right, and often one like it
(docs/notebook/pictures.md). Knows unit vectors and draws, no sequences.

Shape legend: B samples, N codes, K codes near one, C code length; a grid of codes has any shape.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

NEAR = 64
"""From how many of the codes most like the true one a wrong one is drawn."""


class NearCodes:
    """The codes most like each code of a codebook."""

    def __init__(self, vectors_NC: Tensor) -> None:
        """`vectors_NC`: the codes' unit vectors."""
        cosines_NN = vectors_NC @ vectors_NC.T
        self.near_NK = cosines_NN.fill_diagonal_(-2).topk(min(NEAR, len(vectors_NC) - 1), dim=1).indices

    def draw(self, grid: tuple[int, ...], most: float, rngs: Sequence[np.random.Generator]) -> tuple[Tensor, Tensor]:
        """For each sample, which codes of its grid are read wrong, (B, *grid), and as which of those near them.

        Each sample draws its share of wrong codes up to `most`, from its own generator.
        """
        near = self.near_NK.shape[1]
        drawn = [(rng.random() * most, rng.random(grid), rng.integers(near, size=grid)) for rng in rngs]
        wrong = torch.from_numpy(np.stack([uniform < share for share, uniform, _ in drawn]))
        return wrong, torch.from_numpy(np.stack([which for _, _, which in drawn]))

    def like(self, codes: Tensor, which: Tensor) -> Tensor:
        """The codes of these numbers among those near `codes`, of the same shape; on the device of `codes`."""
        found: Tensor = self.near_NK.to(codes.device)[codes, which.to(codes.device)]
        return found
