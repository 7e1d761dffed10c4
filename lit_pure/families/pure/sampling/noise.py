"""Gumbel noise that is fixed before any token is drawn.

Knows seeds, images and cells. Knows nothing of logits. The noise of a cell depends on (seed, image, cell) alone, so a
token is a fixed function of the logits: the same in any batch, and for any engine in any order.

Shape legend: B images, T cells, N legal tokens, w columns of a row.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor


def fixed_uniform(key: Sequence[int], shape: Sequence[int], device: torch.device) -> Tensor:
    """Uniform numbers in [0, 1) that depend on non-negative integers alone."""
    state = np.random.SeedSequence(list(key)).generate_state(1, np.uint64)[0]
    generator = torch.Generator(device).manual_seed(int(state >> np.uint64(1)))
    return torch.rand(*shape, generator=generator, device=device)


class GumbelNoise:
    """Noise of the cells of several pictures, `width` columns wide, for `legal` tokens N in each cell."""

    def __init__(self, seed: int, images: Sequence[int], width: int, legal: int, device: torch.device) -> None:
        """`images`: a non-negative number for each image of the batch."""
        self.seed, self.images, self.width, self.legal, self.device = seed, list(images), width, legal, device
        self._rows: dict[tuple[int, int], Tensor] = {}

    def cells(self, first: Sequence[int], count: int) -> Tensor:
        """Noise (B, T, N) of `count` cells of each picture, in raster order from its `first` cell.

        Windows overlap, so rows stay in memory until every picture is past them.
        """
        rows = [range(start // self.width, (start + count - 1) // self.width + 1) for start in first]
        wanted = {(image, row) for image, needed in zip(self.images, rows, strict=True) for row in needed}
        self._keep(wanted)
        parts = []
        for image, start, needed in zip(self.images, first, rows, strict=True):
            whole = torch.cat([self._rows[image, row] for row in needed])
            parts.append(whole[start - needed[0] * self.width :][:count])
        return torch.stack(parts)

    def each(self, cells: Sequence[int]) -> Tensor:
        """Noise (B, 1, N) of one cell of each picture; rows stay in memory until their pictures are past them."""
        places = [(image, *divmod(cell, self.width)) for image, cell in zip(self.images, cells, strict=True)]
        wanted = {(image, row) for image, row, _ in places}
        self._keep(wanted)
        parts = [self._rows[image, row][column : column + 1] for image, row, column in places]
        return torch.stack(parts) if len(parts) > 1 else parts[0][None]  # a view

    def _keep(self, wanted: set[tuple[int, int]]) -> None:
        """Hold the rows (image, row) that are wanted, and no others."""
        if wanted == self._rows.keys():
            return
        self._rows = {key: self._rows[key] if key in self._rows else self._row_of(*key) for key in wanted}

    def _row_of(self, image: int, row: int) -> Tensor:
        uniform_wN = fixed_uniform((self.seed, image, row), (self.width, self.legal), self.device)
        uniform_wN.clamp_min_(torch.finfo(torch.float32).tiny)
        return uniform_wN.log_().neg_().log_().neg_()  # in place: on a CPU new memory costs more than the logarithms
