"""Blur kernels: their formulas, and how Real-ESRGAN draws them.

Knows the formulas of the kernels and the distributions of their parameters (arXiv 2107.10833, sections 3.1 and 3.3).
Knows nothing of images or torch: `filters.py` applies the matrices.

Shape legend: k side of a kernel [px, odd].
"""

import math
from dataclasses import dataclass
from typing import Literal, cast

import numpy as np
import numpy.typing as npt
from scipy.special import j1

Shape = Literal["delta", "iso", "aniso", "generalized_iso", "generalized_aniso", "plateau_iso", "plateau_aniso", "sinc"]
SMALLEST = 7
"""Side of the smallest drawn kernel [px]."""


@dataclass(frozen=True)
class Kernel:
    """The numbers that determine one blur kernel; unused numbers keep their defaults."""

    shape: Shape
    size: int
    """Side [px, odd]."""
    sigma_x: float = 0.0
    """Standard deviation along the first axis [px]."""
    sigma_y: float = 0.0
    """Standard deviation along the second axis [px]."""
    theta: float = 0.0
    """Angle of the first axis [rad]."""
    beta: float = 1.0
    """Exponent of the generalised Gaussian and plateau kernels; 1 is the Gaussian."""
    omega: float = math.pi
    """Cutoff of the sinc kernel [rad/px]; pi passes everything that the grid can hold."""

    def __post_init__(self) -> None:
        if self.size < 1 or self.size % 2 == 0:
            raise ValueError(f"a kernel of size {self.size} has no centre pixel; give an odd size")
        if self.shape not in ("delta", "sinc") and min(self.sigma_x, self.sigma_y) <= 0:
            raise ValueError(f"kernel sigmas {self.sigma_x}, {self.sigma_y} must be above 0; use DELTA for no blur")

    def matrix(self, pad_to: int = 0) -> npt.NDArray[np.float32]:
        """The taps.

        Args:
            pad_to: side to pad to with zeros [px, odd]; 0 does not pad.

        Returns:
            kernel_kk, float32, sum 1, symmetric about its centre; k is the larger of `size` and `pad_to`.

        Raises:
            ValueError: `pad_to` is even or smaller than the kernel.
        """
        if pad_to and (pad_to < self.size or pad_to % 2 == 0):
            raise ValueError(f"cannot pad a kernel of {self.size} px to {pad_to}; give an odd size that is not smaller")
        taps_kk = self._taps()
        taps_kk = taps_kk / taps_kk.sum()
        if pad_to:
            taps_kk = np.pad(taps_kk, (pad_to - self.size) // 2)
        return taps_kk.astype(np.float32)

    def _taps(self) -> npt.NDArray[np.float64]:
        """kernel_kk before it is normalised."""
        x_1k = np.arange(self.size)[None] - (self.size - 1) / 2
        y_k1 = x_1k.T
        if self.shape == "delta":
            return np.where(np.hypot(x_1k, y_k1) == 0, 1.0, 0.0)
        if self.shape == "sinc":
            return _jinc(np.hypot(x_1k, y_k1), self.omega)
        along_kk = (x_1k * math.cos(self.theta) + y_k1 * math.sin(self.theta)) / self.sigma_x
        across_kk = (y_k1 * math.cos(self.theta) - x_1k * math.sin(self.theta)) / self.sigma_y
        power_kk = (along_kk**2 + across_kk**2) ** self.beta
        taps_kk: npt.NDArray[np.float64]
        taps_kk = 1 / (1 + power_kk) if self.shape.startswith("plateau") else np.exp(-0.5 * power_kk)
        return taps_kk


DELTA = Kernel("delta", 1)
"""The kernel that changes nothing."""


def draw_blur(
    rng: np.random.Generator,
    max_size: int,
    sinc_prob: float,
    shapes: list[str],
    odds: list[float],
    sigma_range: tuple[float, float],
    betag_range: tuple[float, float],
    betap_range: tuple[float, float],
) -> Kernel:
    """Draw the kernel of one blur (arXiv 2107.10833, section 4.1); the arguments are fields of `DegradationConfig`.

    Args:
        rng: the only source of randomness.
        max_size: largest size [px, odd, from 7].
        sinc_prob: probability of a sinc kernel; otherwise `shapes` with probabilities proportional to `odds`.
        sigma_range: lowest and highest standard deviation [px].
        betag_range: lowest and highest exponent of the generalised Gaussian kernels.
        betap_range: lowest and highest exponent of the plateau kernels.
    """
    size = _draw_size(rng, max_size)
    if rng.random() < sinc_prob:
        # A small kernel cannot represent the ripples of a low cutoff, hence the narrower range.
        return Kernel("sinc", size, omega=rng.uniform(math.pi / (3 if size < 13 else 5), math.pi))
    shape = cast(Shape, shapes[rng.choice(len(shapes), p=np.asarray(odds) / sum(odds))])
    sigma_x = sigma_y = rng.uniform(*sigma_range)
    theta = 0.0
    if shape.endswith("aniso"):
        sigma_y = rng.uniform(*sigma_range)
        theta = rng.uniform(-math.pi, math.pi)
    beta = 1.0
    if shape.startswith("generalized"):
        beta = uniform_either_side(rng, *betag_range, below=rng.random() < 0.5)
    elif shape.startswith("plateau"):
        beta = uniform_either_side(rng, *betap_range, below=rng.random() < 0.5)
    return Kernel(shape, size, sigma_x, sigma_y, theta, beta)


def draw_final_sinc(rng: np.random.Generator, max_size: int, prob: float) -> Kernel:
    """Draw the last filter (arXiv 2107.10833, section 3.3): with probability `prob` a sinc, otherwise `DELTA`."""
    if rng.random() >= prob:
        return DELTA
    return Kernel("sinc", _draw_size(rng, max_size), omega=rng.uniform(math.pi / 3, math.pi))


def uniform_either_side(rng: np.random.Generator, low: float, high: float, below: bool) -> float:
    """Draw uniformly from the part of [low, high] below 1, or from the part above 1.

    Where [low, high] does not contain 1, its nearest end replaces 1, so the result never leaves the range.
    """
    middle = min(max(1.0, low), high)
    return rng.uniform(low, middle) if below else rng.uniform(middle, high)


def _draw_size(rng: np.random.Generator, max_size: int) -> int:
    """Uniform among 7, 9, ... max_size [px]."""
    return SMALLEST + 2 * int(rng.integers((max_size - SMALLEST) // 2 + 1))


def _jinc(r_kk: npt.NDArray[np.float64], omega: float) -> npt.NDArray[np.float64]:
    """Impulse response of the ideal circular low-pass, omega J1(omega r) / (2 pi r), which at 0 is omega^2 / 4 pi."""
    safe_kk = np.where(r_kk == 0, 1.0, r_kk)
    taps_kk: npt.NDArray[np.float64]
    taps_kk = np.where(r_kk == 0, omega**2 / (4 * math.pi), omega * j1(omega * safe_kk) / (2 * math.pi * safe_kk))
    return taps_kk
