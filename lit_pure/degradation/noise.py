"""Sensor noise: Gaussian and Poisson.

Knows how to add noise of a given strength to one image. Knows nothing of how strengths are drawn (`pipeline.py`).
Works on one image at a time: Poisson noise depends on how many levels the image has, and each image has its own
random numbers.

Pixels are RGB float32 in [0, 1]. Shape legend: H W height and width [px], c 3 channels or 1 that they share.
"""

import torch
from torch import Tensor

LUMA = (0.2989, 0.587, 0.114)
"""Weights of R, G, B in the luma of ITU-R BT.601, rounded as in torchvision, whose luma Real-ESRGAN uses."""


def add_gaussian(image_3HW: Tensor, sigma: float, gray: bool, generator: torch.Generator) -> Tensor:
    """Add white Gaussian noise (arXiv 2107.10833, section 3.1).

    Args:
        image_3HW: [0, 1].
        sigma: standard deviation [levels of 255].
        gray: all channels get the same noise.
        generator: on the image's device.

    Returns:
        noisy_3HW, not clamped.
    """
    channels = 1 if gray else 3
    noise_cHW = torch.empty_like(image_3HW[:channels]).normal_(generator=generator)
    return torch.add(image_3HW, noise_cHW, alpha=sigma / 255)


def add_poisson(image_3HW: Tensor, scale: float, gray: bool, generator: torch.Generator) -> Tensor:
    """Add shot noise, whose variance is proportional to the brightness (arXiv 2107.10833, section 3.1).

    The photon count at full brightness is unknown; it is taken as the power of two at or above the number of distinct
    8-bit levels, as in scikit-image's `random_noise` and in Real-ESRGAN.

    Args:
        image_3HW: [0, 1].
        scale: factor of the noise; 1 is the natural one.
        gray: all channels get the same noise, that of the luma.
        generator: on the image's device.

    Returns:
        noisy_3HW, not clamped.
    """
    base_cHW = image_3HW
    if gray:
        base_cHW = sum(weight * plane_1HW for weight, plane_1HW in zip(LUMA, image_3HW.split(1), strict=True))
    level_cHW = (base_cHW * 255).round_().clamp_(0, 255)
    base_cHW = level_cHW / 255
    photons = _photons(level_cHW)
    noise_cHW = torch.poisson(base_cHW * photons, generator=generator).div_(photons).sub_(base_cHW)
    return torch.add(image_3HW, noise_cHW, alpha=scale)


def _photons(level_cHW: Tensor) -> Tensor:
    """The power of two at or above the number of distinct levels: a scalar on the same device."""
    found = level_cHW.new_zeros(256).index_fill_(0, level_cHW.flatten().long(), 1)
    return 2 ** (found.sum() > 2 ** torch.arange(8, device=level_cHW.device)).sum()
