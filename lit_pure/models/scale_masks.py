"""Who sees whom in a sequence of scales: a token sees its own scale and all earlier ones.

Knows grids (rows, columns), and the masks of torch's two kinds of attention. Knows nothing of what a token means.

Shape legend: L tokens of all scales, Q new tokens.
"""

from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask, create_block_mask

from lit_pure.models.frame_rope import Grid

KEPT_LEVELS, KEPT_MASKS = 64, 4
"""Most results that stay in memory; a dense mask of 10,521 tokens takes 111 MB."""


def scale_sizes(grids: Sequence[Grid]) -> list[int]:
    """Tokens of each scale."""
    return [rows * columns for rows, columns in grids]


@lru_cache(maxsize=KEPT_LEVELS)
def levels(grids: tuple[Grid, ...], device: torch.device) -> Tensor:
    """The number of its scale (L,), from 0, of each token."""
    with torch.inference_mode(False):  # training uses them later
        sizes = torch.tensor(scale_sizes(grids), device="cpu")
        return torch.arange(len(grids), device="cpu").repeat_interleave(sizes).to(device)


def sees(levels_Q: Tensor, levels_L: Tensor) -> Tensor:
    """True (Q, L) where a new token may look."""
    return levels_Q[:, None] >= levels_L


@lru_cache(maxsize=KEPT_MASKS)
def dense_mask(grids: tuple[Grid, ...], device: torch.device) -> Tensor:
    """`sees` (L, L) of a whole sequence."""
    with torch.inference_mode(False):
        levels_L = levels(grids, device)
        return sees(levels_L, levels_L)


@lru_cache(maxsize=KEPT_MASKS)
def flex_mask(grids: tuple[Grid, ...], device: torch.device) -> BlockMask:
    """The same for flex attention, in blocks."""
    with torch.inference_mode(False):
        levels_L = levels(grids, device)

        def allowed(batch: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
            return levels_L[query] >= levels_L[key]

        return create_block_mask(allowed, None, None, len(levels_L), len(levels_L), device=str(device))
