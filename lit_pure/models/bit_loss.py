"""Cross entropy and accuracy of bits, by scale.

Knows logits, labels and grids. Knows nothing of what predicted them. Weights are Infinity's (arXiv 2412.04431): a token
counts like one over the square root of its scale's tokens, so a scale counts like its side.

Shape legend: B pictures, L tokens of all scales, b bits of a token, K scales.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from lit_pure.models.frame_rope import Grid
from lit_pure.models.scale_masks import scale_sizes


@dataclass(frozen=True)
class BitScores:
    """How well bits are predicted; means over pictures, bits and tokens, detached."""

    bit: Tensor
    """Share of right bits."""
    token: Tensor
    """Share of tokens whose bits are all right."""
    bit_K: Tensor
    """The same for each scale."""
    token_K: Tensor
    """The same for each scale."""
    loss_K: Tensor
    """Cross entropy of a bit for each scale [nats]."""


def token_weights(grids: Sequence[Grid], known: int = 0, reweighted: bool = True) -> Tensor:
    """Weights (L,) of the tokens, in float32 on the CPU; their sum is 1.

    Args:
        grids: rows and columns of each scale.
        known: scales at the start that are given, not predicted: their tokens have weight 0.
        reweighted: False for the same weight for all tokens that are predicted.

    Raises:
        ValueError: no scale is left.
    """
    if not 0 <= known < len(grids):
        raise ValueError(f"{known} of {len(grids)} scales are known: no loss is left; predict at least one scale")
    sizes = torch.tensor(scale_sizes(grids))
    weight_K = sizes.double() ** (-0.5 if reweighted else 0.0)
    weight_K[:known] = 0
    return (weight_K / (weight_K * sizes).sum()).repeat_interleave(sizes).float()


def bit_losses(logits_BLb2: Tensor, labels_BLb: Tensor) -> Tensor:
    """Cross entropy (B, L, b) of each bit [nats], in float32."""
    difference_BLb = (logits_BLb2[..., 1] - logits_BLb2[..., 0]).float()
    return F.binary_cross_entropy_with_logits(difference_BLb, labels_BLb.float(), reduction="none")


def bit_loss(logits_BLb2: Tensor, labels_BLb: Tensor, weight_L: Tensor) -> Tensor:
    """The loss (): the mean over pictures and bits of the weighted sum over tokens [nats per bit].

    Args:
        logits_BLb2: for 0 and for 1, any float dtype.
        labels_BLb: 0 or 1.
        weight_L: from `token_weights`, on the device of the logits.
    """
    return (bit_losses(logits_BLb2, labels_BLb).mean((0, 2)) * weight_L).sum()


@torch.no_grad()
def bit_scores(logits_BLb2: Tensor, labels_BLb: Tensor, grids: Sequence[Grid]) -> BitScores:
    """How well the likelier value of each bit is its label. Equal logits say 0."""
    right_BLb = (logits_BLb2[..., 1] > logits_BLb2[..., 0]) == labels_BLb.bool()
    bit_L = right_BLb.float().mean((0, 2))
    token_L = right_BLb.all(-1).float().mean(0)
    loss_L = bit_losses(logits_BLb2, labels_BLb).mean((0, 2))
    sizes = scale_sizes(grids)
    bit_K, token_K, loss_K = (
        torch.stack([part.mean() for part in one_L.split(sizes)]) for one_L in (bit_L, token_L, loss_L)
    )
    return BitScores(bit_L.mean(), token_L.mean(), bit_K, token_K, loss_K)
