"""A degradation between none and the one that was drawn: from a camera's own softness to Real-ESRGAN's worst.

Knows how each step grows with one number. Knows nothing of how that number is drawn (`pipeline.py`). `severity.py` sets
the blur or the noise alone, for the estimator.
"""

import math
from dataclasses import replace

from lit_pure.degradation.kernels import Kernel
from lit_pure.degradation.numbers import Degradation, Noise, Resize

LEAST_SIGMA = 0.05
"""Standard deviation of a blur that changes nothing [px]."""


def weaken(degradation: Degradation, strength: float) -> Degradation:
    """The same degradation with all of its steps at `strength`.

    Standard deviations of blurs and noise grow in proportion, factors of resizes as powers, cutoffs of sincs and JPEG's
    loss of quality linearly; the picture is sharpened before from half strength on.

    Args:
        degradation: not changed.
        strength: [0, 1]; 0 leaves only the resize to the LQ size, 1 the degradation itself.

    Raises:
        ValueError: `strength` is out of range.
    """
    if not 0 <= strength <= 1:
        raise ValueError(f"strength {strength} is out of range; give 0 (only the resize) to 1 (as it is)")
    d = degradation
    return replace(
        d,
        sharpen=d.sharpen and strength >= 0.5,
        blur1=_kernel(d.blur1, strength),
        resize1=_resize(d.resize1, strength),
        noise1=_noise(d.noise1, strength),
        quality1=_quality(d.quality1, strength),
        blur2=_kernel(d.blur2, strength),
        resize2=None if d.resize2 is None else _resize(d.resize2, strength),
        noise2=_noise(d.noise2, strength),
        quality2=_quality(d.quality2, strength),
        sinc=_kernel(d.sinc, strength),
    )


def _kernel(kernel: Kernel, strength: float) -> Kernel:
    if kernel.shape == "delta":
        return kernel
    if kernel.shape == "sinc":
        return replace(kernel, omega=math.pi - strength * (math.pi - kernel.omega))
    sigma_x, sigma_y = (max(LEAST_SIGMA, sigma * strength) for sigma in (kernel.sigma_x, kernel.sigma_y))
    return replace(kernel, sigma_x=sigma_x, sigma_y=sigma_y)


def _resize(resize: Resize, strength: float) -> Resize:
    return replace(resize, factor=resize.factor**strength)


def _noise(noise: Noise, strength: float) -> Noise:
    return replace(noise, strength=noise.strength * strength)


def _quality(quality: float | None, strength: float) -> float | None:
    """None, which does not compress, where nothing would be lost."""
    return None if quality is None or strength == 0 else 100 - strength * (100 - quality)
