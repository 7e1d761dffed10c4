"""One knob for the blur and one for the noise of a degradation.

Knows how to set the blur or the noise of a `Degradation` without changing the rest. Knows nothing of its use
(`dem.py`). Steps with probability 0 stay out, and so does a second stage that the degradation leaves out.
"""

from dataclasses import replace

from lit_pure.config.data import DegradationConfig
from lit_pure.degradation.kernels import DELTA, Kernel
from lit_pure.degradation.numbers import Degradation, Noise


def with_blur(degradation: Degradation, config: DegradationConfig, severity: float) -> Degradation:
    """The same degradation with a blur that only `severity` decides.

    Each stage that may blur gets an isotropic Gaussian of the largest size, and the final sinc is removed: at one
    standard deviation, the blur also depends on shape, size and exponent, which would influence the severity.

    Args:
        degradation: not changed.
        config: the ends of the standard deviations; the first stage never blurs where `blur_prob` is 0, the second
            where `second_blur_prob` is 0.
        severity: [0, 1] from the lowest to the highest standard deviation of either stage; exactly 0 is no blur.

    Raises:
        ValueError: `severity` is out of range.
    """
    _check(severity)
    if severity == 0:
        return replace(degradation, blur1=DELTA, blur2=DELTA, sinc=DELTA)
    blur1 = blur2 = DELTA
    if config.blur_prob > 0:
        blur1 = _gaussian(config.blur_kernel_size, config.blur_sigma, severity)
    if config.second_blur_prob > 0 and degradation.resize2 is not None:
        blur2 = _gaussian(config.blur_kernel_size2, config.blur_sigma2, severity)
    return replace(degradation, blur1=blur1, blur2=blur2, sinc=DELTA)


def with_noise(degradation: Degradation, config: DegradationConfig, severity: float) -> Degradation:
    """The same degradation with noise whose strength only `severity` decides; kind, colour and seeds are kept.

    Args:
        degradation: not changed.
        config: the ends of the strengths; the first stage adds no noise where `noise_prob` is 0.
        severity: [0, 1] from the lowest to the highest strength of either stage; exactly 0 is no noise.

    Raises:
        ValueError: `severity` is out of range.
    """
    _check(severity)
    noise1, noise2 = degradation.noise1, degradation.noise2
    if config.noise_prob > 0:
        noise1 = _with_strength(noise1, config.noise_range, config.poisson_scale_range, severity)
    if degradation.resize2 is not None:
        noise2 = _with_strength(noise2, config.noise_range2, config.poisson_scale_range2, severity)
    return replace(degradation, noise1=noise1, noise2=noise2)


def _gaussian(size: int, sigma_range: tuple[float, float], severity: float) -> Kernel:
    sigma = _interpolate(sigma_range, severity)
    return Kernel("iso", size, sigma, sigma)


def _with_strength(
    noise: Noise, sigma_range: tuple[float, float], scale_range: tuple[float, float], severity: float
) -> Noise:
    ends = sigma_range if noise.kind == "gaussian" else scale_range
    return replace(noise, strength=_interpolate(ends, severity) if severity else 0.0)


def _interpolate(ends: tuple[float, float], severity: float) -> float:
    return ends[0] + severity * (ends[1] - ends[0])


def _check(severity: float) -> None:
    if not 0 <= severity <= 1:
        raise ValueError(f"severity {severity} is out of range; give 0 (none) to 1 (the strongest)")
