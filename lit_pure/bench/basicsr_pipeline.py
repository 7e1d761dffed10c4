"""The degradation of Real-ESRGAN composed of basicsr's functions; ours is measured and tested against it.

Knows in which order basicsr's `RealESRGANModel` calls them, and what it draws for a whole batch or for each image.
Knows nothing of our own steps, and takes only their numbers (`Degradation`, `Kernel.matrix`).

basicsr draws from the global generators of `random`, numpy and torch; seed all three to repeat a draw.

Pixels are RGB float32 in [0, 1]. Shape legend: B images, H W height and width of the HQ image [px], h w of the LQ
image, k side of a kernel [px, odd], y x of an image between the steps.
"""

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from lit_pure.bench.basicsr_import import load_basicsr
from lit_pure.config.data import RESIZE_MODES, DegradationConfig
from lit_pure.degradation.kernels import SMALLEST
from lit_pure.degradation.numbers import Degradation, Mode, Noise, Resize

OURS_ALONE = ("blur_prob", "noise_prob", "jpeg_prob", "second_order_prob", "jpeg_prob2", "final_modes")
"""Knobs that basicsr's pipeline lacks."""


@dataclass(frozen=True)
class BatchNoise:
    """Noise of one stage: one kind for the batch, strength and colour for each image."""

    kind: Literal["gaussian", "poisson"]
    strength_B: Tensor
    gray_B: Tensor
    """1 where all channels share the noise, else 0."""


@dataclass(frozen=True)
class Plan:
    """The numbers of one batch; None skips a step."""

    sharpen: bool
    blur1_Bkk: Tensor
    resize1: Resize
    noise1: BatchNoise | None
    quality1_B: Tensor | None
    blur2_Bkk: Tensor | None
    resize2: Resize | None
    noise2: BatchNoise | None
    quality2_B: Tensor | None
    final_mode: Mode
    sinc_Bkk: Tensor
    sinc_first: bool


class BasicsrPipeline:
    """Degrades batches. Images must be larger than half a kernel at every step, or basicsr cannot mirror them."""

    def __init__(self) -> None:
        load_basicsr()
        from basicsr.utils.diffjpeg import DiffJPEG
        from basicsr.utils.img_process_util import USMSharp

        self._sharpen, self._jpeg = USMSharp(), DiffJPEG(differentiable=False)

    def degrade(self, hq_B3HW: Tensor, config: DegradationConfig) -> Tensor:
        """Degrade as published: kernels, strengths and qualities are drawn per image, all else per batch.

        Returns:
            lq_B3hw, [0, 1], rounded to 255 levels.
        """
        return self.apply(hq_B3HW, draw_plan(config, len(hq_B3HW)), config.scale)

    def repeat(self, hq_3HW: Tensor, degradation: Degradation, scale: int) -> Tensor:
        """Degrade with the numbers of our pipeline; only the noise field is basicsr's own.

        Returns:
            lq_3hw, [0, 1], rounded to 255 levels.
        """
        return self.apply(hq_3HW[None], plan_of(degradation), scale)[0]

    @torch.no_grad()
    def apply(self, hq_B3HW: Tensor, p: Plan, scale: int) -> Tensor:
        """Apply the steps in their published order."""
        height, width = hq_B3HW.shape[2:]
        final = height // scale, width // scale
        out_B3yx = _blur(self._sharpen(hq_B3HW) if p.sharpen else hq_B3HW, p.blur1_Bkk)
        out_B3yx = F.interpolate(out_B3yx, scale_factor=p.resize1.factor, mode=p.resize1.mode)
        out_B3yx = self._compress(_add_noise(out_B3yx, p.noise1), p.quality1_B)
        out_B3yx = _blur(out_B3yx, p.blur2_Bkk)
        if p.resize2 is not None:
            second = int(height / scale * p.resize2.factor), int(width / scale * p.resize2.factor)
            out_B3yx = F.interpolate(out_B3yx, size=second, mode=p.resize2.mode)
        out_B3yx = _add_noise(out_B3yx, p.noise2)
        if not p.sinc_first:
            out_B3yx = self._compress(out_B3yx, p.quality2_B)
        out_B3yx = _blur(F.interpolate(out_B3yx, size=final, mode=p.final_mode), p.sinc_Bkk)
        if p.sinc_first:
            out_B3yx = self._compress(out_B3yx, p.quality2_B)
        return torch.clamp((out_B3yx * 255).round(), 0, 255) / 255

    def _compress(self, image_B3yx: Tensor, quality_B: Tensor | None) -> Tensor:
        if quality_B is None:
            return image_B3yx
        # DiffJPEG overwrites the qualities that it is given.
        compressed_B3yx: Tensor = self._jpeg(torch.clamp(image_B3yx, 0, 1), quality=quality_B.clone())
        return compressed_B3yx


def draw_plan(config: DegradationConfig, batch: int) -> Plan:
    """Draw as basicsr's data set and model do, with basicsr's functions where they exist.

    Raises ValueError for settings that basicsr lacks.
    """
    c = config
    if changed := [name for name in OURS_ALONE if getattr(c, name) != getattr(DegradationConfig(), name)]:
        raise ValueError(f"basicsr lacks {', '.join(changed)}; leave them at their defaults")
    blur1_Bkk = _stack(
        draw_kernel_kk(
            c.blur_kernel_size, c.sinc_prob, c.kernel_list, c.kernel_prob, c.blur_sigma, c.betag_range, c.betap_range
        )
        for _ in range(batch)
    )
    size, shapes, odds = c.blur_kernel_size2, c.kernel_list2, c.kernel_prob2
    blur2_Bkk = _stack(
        draw_kernel_kk(size, c.sinc_prob2, shapes, odds, c.blur_sigma2, c.betag_range2, c.betap_range2)
        for _ in range(batch)
    )
    return Plan(
        sharpen=c.gt_usm,
        blur1_Bkk=blur1_Bkk,
        resize1=_draw_resize(c.resize_prob, c.resize_range),
        noise1=_draw_noise(batch, c.gaussian_noise_prob, c.noise_range, c.poisson_scale_range, c.gray_noise_prob),
        quality1_B=torch.empty(batch).uniform_(*c.jpeg_range),
        blur2_Bkk=blur2_Bkk if np.random.uniform() < c.second_blur_prob else None,
        resize2=_draw_resize(c.resize_prob2, c.resize_range2),
        noise2=_draw_noise(batch, c.gaussian_noise_prob2, c.noise_range2, c.poisson_scale_range2, c.gray_noise_prob2),
        quality2_B=torch.empty(batch).uniform_(*c.jpeg_range2),
        final_mode=random.choice(RESIZE_MODES),  # type: ignore[arg-type]
        sinc_Bkk=_stack(_draw_sinc(size, c.final_sinc_prob) for _ in range(batch)),
        sinc_first=np.random.uniform() < 0.5,
    )


def plan_of(degradation: Degradation) -> Plan:
    """The numbers of our degradation for a batch of one image."""
    d = degradation
    return Plan(
        sharpen=d.sharpen,
        blur1_Bkk=torch.from_numpy(d.blur1.matrix())[None],
        resize1=d.resize1,
        noise1=_noise_of(d.noise1),
        quality1_B=None if d.quality1 is None else torch.tensor([d.quality1]),
        blur2_Bkk=torch.from_numpy(d.blur2.matrix())[None],
        resize2=d.resize2,
        noise2=_noise_of(d.noise2),
        quality2_B=None if d.quality2 is None else torch.tensor([d.quality2]),
        final_mode=d.final_mode,
        sinc_Bkk=torch.from_numpy(d.sinc.matrix())[None],
        sinc_first=d.sinc_first,
    )


def draw_kernel_kk(
    max_size: int,
    sinc_prob: float,
    shapes: Sequence[str],
    odds: Sequence[float],
    sigma_range: tuple[float, float],
    betag_range: tuple[float, float],
    betap_range: tuple[float, float],
) -> np.ndarray[Any, np.dtype[Any]]:
    """One blur kernel as basicsr's data set draws it, padded to the largest size."""
    from basicsr.data.degradations import circular_lowpass_kernel, random_mixed_kernels

    size = random.choice(range(SMALLEST, max_size + 1, 2))
    if np.random.uniform() < sinc_prob:
        omega = np.random.uniform(math.pi / (3 if size < 13 else 5), math.pi)
        kernel_kk = circular_lowpass_kernel(omega, size, pad_to=False)
    else:
        turn = (-math.pi, math.pi)
        kernel_kk = random_mixed_kernels(
            shapes, odds, size, sigma_range, sigma_range, turn, betag_range, betap_range, noise_range=None
        )
    return np.pad(kernel_kk, (max_size - size) // 2)


def _draw_sinc(max_size: int, prob: float) -> np.ndarray[Any, np.dtype[Any]]:
    """The last filter; without one, basicsr applies a kernel that changes nothing."""
    from basicsr.data.degradations import circular_lowpass_kernel

    if np.random.uniform() < prob:
        size = random.choice(range(SMALLEST, max_size + 1, 2))
        omega = np.random.uniform(math.pi / 3, math.pi)
        sinc_kk: np.ndarray[Any, np.dtype[Any]] = circular_lowpass_kernel(omega, size, pad_to=max_size)
        return sinc_kk
    pulse_kk = np.zeros((max_size, max_size))
    pulse_kk[max_size // 2, max_size // 2] = 1
    return pulse_kk


def _draw_resize(odds: Sequence[float], factor_range: tuple[float, float]) -> Resize:
    choice = random.choices(["up", "down", "keep"], odds)[0]
    low, high = {"up": (1.0, factor_range[1]), "down": (factor_range[0], 1.0), "keep": (1.0, 1.0)}[choice]
    return Resize(np.random.uniform(low, high), random.choice(RESIZE_MODES))  # type: ignore[arg-type]


def _draw_noise(
    batch: int,
    gaussian_prob: float,
    sigma_range: tuple[float, float],
    scale_range: tuple[float, float],
    gray_prob: float,
) -> BatchNoise:
    gaussian = np.random.uniform() < gaussian_prob
    low, high = sigma_range if gaussian else scale_range
    strength_B = torch.rand(batch) * (high - low) + low
    return BatchNoise("gaussian" if gaussian else "poisson", strength_B, (torch.rand(batch) < gray_prob).float())


def _noise_of(noise: Noise) -> BatchNoise | None:
    if noise.strength == 0:
        return None
    return BatchNoise(noise.kind, torch.tensor([noise.strength]), torch.tensor([float(noise.gray)]))


def _stack(kernels: Any) -> Tensor:
    return torch.stack([torch.FloatTensor(kernel_kk) for kernel_kk in kernels])


def _blur(image_B3yx: Tensor, kernel_Bkk: Tensor | None) -> Tensor:
    from basicsr.utils.img_process_util import filter2D

    if kernel_Bkk is None:
        return image_B3yx
    blurred_B3yx: Tensor = filter2D(image_B3yx.contiguous(), kernel_Bkk)
    return blurred_B3yx


def _add_noise(image_B3yx: Tensor, noise: BatchNoise | None) -> Tensor:
    """Without noise only clamp, as our pipeline does at strength 0."""
    from basicsr.data.degradations import add_gaussian_noise_pt, add_poisson_noise_pt

    if noise is None:
        return image_B3yx.clamp(0, 1)
    add = add_gaussian_noise_pt if noise.kind == "gaussian" else add_poisson_noise_pt
    noisy_B3yx: Tensor = add(image_B3yx, noise.strength_B, gray_noise=noise.gray_B, clip=True, rounds=False)
    return noisy_B3yx
