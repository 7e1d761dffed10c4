"""Gives a restored picture the colours of its source: a tokenizer shifts colours a little, differently in each tile.

Knows two published methods: frequencies (a-trous wavelets) and moments (AdaIN). Knows nothing of models or tiles.

Suffixes: B images, 3 RGB, H height, W width.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from lit_pure.config.experiment import ColorFix

LEVELS = 5
"""Levels of the published decomposition."""


def wavelet_reach(levels: int) -> int:
    """How far the low-pass of so many levels looks in each direction [px]."""
    return int(2**levels - 1)


@dataclass(frozen=True)
class Moments:
    """Mean and standard deviation of each channel, both (..., 3, 1, 1)."""

    mean_B311: Tensor
    std_B311: Tensor

    @classmethod
    def of(cls, image_B3HW: Tensor) -> "Moments":
        """Of each image."""
        mean_B311 = image_B3HW.mean((-2, -1), keepdim=True)
        return cls(mean_B311, (image_B3HW - mean_B311).square().mean((-2, -1), keepdim=True).sqrt())

    @classmethod
    def of_parts(cls, parts_3hw: Iterable[Tensor]) -> "Moments":
        """Of the picture that all parts are together; in float64, since large sums are subtracted."""
        count, total_3, squares_3 = 0, torch.zeros(3, dtype=torch.float64), torch.zeros(3, dtype=torch.float64)
        for part_3hw in parts_3hw:
            exact_3n = part_3hw.flatten(1).double().cpu()
            count += exact_3n.shape[1]
            total_3 += exact_3n.sum(1)
            squares_3 += exact_3n.square().sum(1)
        mean_3 = total_3 / count
        std_3 = (squares_3 / count - mean_3.square()).clamp(min=0).sqrt()
        return cls(mean_3.view(3, 1, 1), std_3.view(3, 1, 1))


def fix_colors(restored_B3HW: Tensor, reference_B3HW: Tensor, method: ColorFix, levels: int = LEVELS) -> Tensor:
    """The details of `restored` with the colours of `reference`, clamped to [0, 1].

    Args:
        restored_B3HW: in [0, 1].
        reference_B3HW: the bicubically enlarged source, of the same size.
        method: `wavelet` takes all frequencies below the last level from the reference, `adain` takes each channel's
            mean and standard deviation, `none` returns `restored` itself.
        levels: of `wavelet`, at least 1. Fewer take more of the reference: its blurred edges, not its colours alone.

    Raises:
        ValueError: the sizes differ.
    """
    if restored_B3HW.shape != reference_B3HW.shape:
        raise ValueError(f"restored {tuple(restored_B3HW.shape)} and reference {tuple(reference_B3HW.shape)} differ")
    if method == "none":
        return restored_B3HW
    reference_B3HW = reference_B3HW.to(restored_B3HW.dtype)
    if method == "wavelet":
        # The filter is linear: high(restored) + low(reference) = restored + low(reference - restored).
        return (restored_B3HW + low_frequencies(reference_B3HW - restored_B3HW, levels)).clamp(0, 1)
    return adain(restored_B3HW, Moments.of(restored_B3HW), Moments.of(reference_B3HW))


def adain(image_B3HW: Tensor, own: Moments, wanted: Moments) -> Tensor:
    """A picture, or a part of it, with other moments, clamped to [0, 1]; `own` are those of the whole picture."""
    mean_B311, std_B311, wanted_mean_B311, wanted_std_B311 = (
        part.to(image_B3HW) for part in (own.mean_B311, own.std_B311, wanted.mean_B311, wanted.std_B311)
    )
    # The clamp keeps a constant channel from a division by zero.
    unit_B3HW = (image_B3HW - mean_B311) / std_B311.clamp_min(1e-5)
    return (unit_B3HW * wanted_std_B311 + wanted_mean_B311).clamp(0, 1)


def low_frequencies(image_B3HW: Tensor, levels: int = LEVELS) -> Tensor:
    """The low-pass after `levels` levels of an a-trous decomposition with [1 2 1] x [1 2 1] / 16; edges are repeated.

    The taps of level k, from 0, are 2**k px apart.
    """
    for level in range(levels):
        for dim in (-2, -1):
            image_B3HW = _smooth(image_B3HW, dim, 2**level)
    return image_B3HW


def _smooth(image_B3HW: Tensor, dim: int, distance: int) -> Tensor:
    """[1 2 1] / 4 along one dimension, its taps `distance` apart."""
    length = image_B3HW.shape[dim]
    padding = (0, 0, distance, distance) if dim == -2 else (distance, distance, 0, 0)
    padded_B3HW = F.pad(image_B3HW, padding, mode="replicate")
    before, after = (padded_B3HW.narrow(dim, start, length) for start in (0, 2 * distance))
    return (before + after) / 4 + image_B3HW / 2
