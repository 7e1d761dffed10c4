"""The numbers of one degradation, which can be stored, changed and applied again.

Knows which numbers each step has. Knows nothing of how they are drawn or applied (`pipeline.py`).
"""

from dataclasses import dataclass
from typing import Literal

from lit_pure.degradation.kernels import Kernel

Mode = Literal["area", "bilinear", "bicubic", "bicubic_antialias"]
"""Interpolation of a resize."""


@dataclass(frozen=True)
class Resize:
    """A change of size."""

    factor: float
    """Relative to the HQ size in the first stage, to the LQ size in the second."""
    mode: Mode


@dataclass(frozen=True)
class Noise:
    """Noise of one stage."""

    kind: Literal["gaussian", "poisson"]
    strength: float
    """Standard deviation [levels of 255] of Gaussian noise, factor of Poisson noise; 0 is no noise."""
    gray: bool
    """All channels share the noise."""
    seed: int
    """Each stage has its own, so that a change to one stage leaves the noise of the other unchanged."""


@dataclass(frozen=True)
class Degradation:
    """Everything that turns an HQ image into its LQ image; `dataclasses.asdict` makes it JSON."""

    sharpen: bool
    blur1: Kernel
    resize1: Resize
    noise1: Noise
    quality1: float | None
    """JPEG quality of the first stage; None does not compress."""
    blur2: Kernel
    """`DELTA` where the second stage does not blur."""
    resize2: Resize | None
    """None where the second stage is left out."""
    noise2: Noise
    quality2: float | None
    """Quality of the last JPEG; None does not compress."""
    final_mode: Mode
    """How the image gets its final size."""
    sinc: Kernel
    """`DELTA` where the final sinc is left out."""
    sinc_first: bool
    """Whether final size and sinc come before the second JPEG instead of after it."""
