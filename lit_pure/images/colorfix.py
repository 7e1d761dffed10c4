"""Gives a restored picture the colours of its source: a tokenizer shifts colours a little, differently in each tile.

Knows two published methods: frequencies (a-trous wavelets) and moments (AdaIN). Knows nothing of models or tiles.

Suffixes: B images, 3 RGB, H height, W width.
"""

import torch.nn.functional as F
from torch import Tensor

from lit_pure.config.experiment import ColorFix

LEVELS = 5
"""Levels of the published decomposition."""


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
    mean_B311, std_B311 = _moments(restored_B3HW)
    wanted_mean_B311, wanted_std_B311 = _moments(reference_B3HW)
    # The clamp keeps a constant channel from a division by zero.
    unit_B3HW = (restored_B3HW - mean_B311) / std_B311.clamp_min(1e-5)
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


def _moments(image_B3HW: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of each channel, (B, 3, 1, 1)."""
    mean_B311 = image_B3HW.mean((-2, -1), keepdim=True)
    return mean_B311, (image_B3HW - mean_B311).square().mean((-2, -1), keepdim=True).sqrt()
