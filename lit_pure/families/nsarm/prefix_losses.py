"""Losses and scores of NSARM's prefix: the residuals of the first scales that the transformation network predicts.

Knows residuals, latents and grids. Knows nothing of networks, bits as labels, or of the transformer's loss. NSARM's
training code is not published (arXiv 2510.00820; its figure shows a regression of residuals), so each choice that is
ours says so.

Shape legend: B pictures, d latent channels, H W the final grid of the latent, h_k w_k the grid of scale k, K scales.
"""

from collections.abc import Sequence
from itertools import accumulate

import torch
import torch.nn.functional as F
from torch import Tensor

Grid = tuple[int, int]
"""Rows and columns."""


def residual_loss(predicted: Sequence[Tensor], target: Sequence[Tensor]) -> Tensor:
    """Stage 1: the mean squared error of each scale, then the mean over scales.

    Targets are raw residuals along the clean path, not their codes: only signs count later, and this way the error of
    a bit counts as much as it is certain. A mean over all numbers would be 77 % scales 6 and 7 (ours).

    Args:
        predicted: (B, d, h_k, w_k) of each scale.
        target: likewise; no gradient goes there.

    Returns:
        The loss ().

    Raises:
        ValueError: there is no scale, or numbers of scales differ.
    """
    if not predicted:
        raise ValueError("no scale has a loss; predict at least one prefix scale")
    pairs = zip(predicted, target, strict=True)
    return torch.stack([F.mse_loss(one, other.detach()) for one, other in pairs]).mean()


def bit_accuracy(predicted: Sequence[Tensor], target: Sequence[Tensor]) -> Tensor:
    """The share of equal bits of each scale (K,): a number above zero is bit 1, zero is bit 0."""
    equal = [((one > 0) == (other > 0)).float().mean() for one, other in zip(predicted, target, strict=True)]
    return torch.stack(equal)


def anchor_loss(predicted: Sequence[Tensor], target: Sequence[Tensor], weight: float) -> Tensor:
    """Stage 2: what the prefix costs for leaving the ground truth's, `weight` times the loss of stage 1 (ours).

    The cross entropy of later scales has labels that depend on the prefix. Alone, it is lowered by prefixes whose
    completion is easy to predict, and which are no picture: a nano model's bits fell from .95 .85 .74 .67 to
    .73 .69 .60 .57. A weight of 10 kept them.
    """
    return weight * residual_loss(predicted, target)


def raw_residuals(latent_BdHW: Tensor, grids: Sequence[Grid]) -> list[Tensor]:
    """Residuals of a latent if none is quantised: r_k is what the sum of r_1 .. r_(k-1) lacks, averaged over cells.

    Not the targets of stage 1: there, codes are summed.

    Args:
        latent_BdHW: features of the HQ picture, not quantised.
        grids: of the scales, coarsest first.

    Returns:
        (B, d, h_k, w_k) of each scale.
    """
    lacking_BdHW, residuals = latent_BdHW, []
    for grid in grids:
        residuals.append(F.adaptive_avg_pool2d(lacking_BdHW, grid))
        lacking_BdHW = lacking_BdHW - _enlarged(residuals[-1], _grid(latent_BdHW))
    return residuals


def running_sums(residuals: Sequence[Tensor], final: Grid) -> list[Tensor]:
    """The sum of residuals after each scale, formed on the `final` grid and averaged over the cells of that scale.

    Args:
        residuals: (B, d, h_k, w_k) of each scale, not quantised.
        final: the grid of the latent.

    Returns:
        (B, d, h_k, w_k) of each scale.
    """
    sums_BdHW = accumulate(_enlarged(item, final) for item in residuals)
    return [F.adaptive_avg_pool2d(sum_BdHW, _grid(item)) for sum_BdHW, item in zip(sums_BdHW, residuals, strict=True)]


def consistency_loss(predicted: Sequence[Tensor], latent_BdHW: Tensor) -> Tensor:
    """Mean over scales of the squared error between running sums of predicted and of unquantised true residuals.

    The sums are the published code's; that they are compared by squared error, and each scale counts alike, is ours. It
    is not known whether NSARM was trained with it.

    Args:
        predicted: (B, d, h_k, w_k) of each scale.
        latent_BdHW: features of the HQ picture, not quantised.

    Returns:
        The loss ().
    """
    true = raw_residuals(latent_BdHW, [_grid(item) for item in predicted])
    sums, true_sums = (running_sums(item, _grid(latent_BdHW)) for item in (predicted, true))
    return residual_loss(sums, true_sums)


def _grid(map_Bdhw: Tensor) -> Grid:
    return map_Bdhw.shape[-2], map_Bdhw.shape[-1]


def _enlarged(map_Bdhw: Tensor, grid: Grid) -> Tensor:
    """Bilinear; the published name is trilinear, of pictures as films of one frame."""
    return F.interpolate(map_Bdhw, size=grid, mode="bilinear", align_corners=False)
