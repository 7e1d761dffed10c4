"""One knob for the blur and one for the noise of a degradation.

Knows how to set the blur or the noise of a `Degradation` and leave the rest; what that serves is `dem.py`'s matter.
"""

from dataclasses import replace

from lit_pure.config.data import DegradationConfig
from lit_pure.degradation.kernels import DELTA, Kernel
from lit_pure.degradation.pipeline import Degradation, Noise


def with_blur(degradation: Degradation, config: DegradationConfig, severity: float) -> Degradation:
    """The same degradation with only `severity` deciding the blur.

    Both stages get an isotropic Gaussian of the largest size, and the final sinc goes: the drawn shapes, sizes and
    exponents blur more or less at the same standard deviation, and would have a say otherwise.

    Args:
        degradation: stays as it is.
        config: the ends of the standard deviations.
        severity: [0, 1] from the lowest to the highest standard deviation of either stage; 0 itself is no blur at all.

    Raises:
        ValueError: `severity` is out of range.
    """
    _check(severity)
    if severity == 0:
        return replace(degradation, blur1=DELTA, blur2=DELTA, sinc=DELTA)
    sigma1, sigma2 = _between(config.blur_sigma, severity), _between(config.blur_sigma2, severity)
    return replace(
        degradation,
        blur1=Kernel("iso", config.blur_kernel_size, sigma1, sigma1),
        blur2=Kernel("iso", config.blur_kernel_size2, sigma2, sigma2),
        sinc=DELTA,
    )


def with_noise(degradation: Degradation, config: DegradationConfig, severity: float) -> Degradation:
    """The same degradation with only `severity` deciding how strong its noise is; kinds, grayness and seeds stay.

    Args:
        degradation: stays as it is.
        config: the ends of the strengths.
        severity: [0, 1] from the lowest to the highest strength of either stage; 0 itself is no noise at all.

    Raises:
        ValueError: `severity` is out of range.
    """
    _check(severity)
    noise1 = _scaled(degradation.noise1, config.noise_range, config.poisson_scale_range, severity)
    noise2 = _scaled(degradation.noise2, config.noise_range2, config.poisson_scale_range2, severity)
    return replace(degradation, noise1=noise1, noise2=noise2)


def _scaled(noise: Noise, sigma_range: tuple[float, float], scale_range: tuple[float, float], severity: float) -> Noise:
    ends = sigma_range if noise.kind == "gaussian" else scale_range
    return replace(noise, strength=_between(ends, severity) if severity else 0.0)


def _between(ends: tuple[float, float], severity: float) -> float:
    return ends[0] + severity * (ends[1] - ends[0])


def _check(severity: float) -> None:
    if not 0 <= severity <= 1:
        raise ValueError(f"severity {severity} is out of range; give 0 (none) to 1 (the strongest)")
