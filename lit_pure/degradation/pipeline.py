"""The two-stage degradation of Real-ESRGAN (arXiv 2107.10833, figure 2): blur, resize, noise, JPEG, twice, and a sinc.

`draw` decides every number and gives a `Degradation`, `apply` applies it, `degrade` does both for a batch. A
`Degradation` is plain numbers that can be stored, changed (`severity.py`) and applied again. Knows the order of the
steps and the distributions of their numbers. Knows nothing of how a step is computed (`filters.py`, `noise.py`,
`jpeg.py`).

Pixels are RGB float32 in [0, 1]. Shape legend: B images, H W height and width of the HQ image [px], h w of the LQ
image, y x of an image between the steps.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import repeat
from typing import cast

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from lit_pure.config.data import ANTIALIASED, RESIZE_MODES, DegradationConfig
from lit_pure.degradation.filters import convolve, sharpen
from lit_pure.degradation.jpeg import jpeg
from lit_pure.degradation.kernels import DELTA, Kernel, draw_blur, draw_final_sinc, uniform_either_side
from lit_pure.degradation.noise import add_gaussian, add_poisson
from lit_pure.degradation.numbers import Degradation, Mode, Noise, Resize
from lit_pure.degradation.strength import weaken
from lit_pure.images.checks import require_batch, require_one_each, require_picture
from lit_pure.images.threads import one_thread


def draw(config: DegradationConfig, rng: np.random.Generator) -> Degradation:
    """Draw all numbers of one degradation (arXiv 2107.10833, section 4.1).

    Args:
        config: the distributions.
        rng: the only source of randomness; it is advanced.
    """
    c = config
    blur1, blur2 = _draw_blurs(config, rng)
    drawn = Degradation(
        sharpen=c.gt_usm,
        blur1=blur1,
        resize1=_draw_resize(rng, c.resize_prob, c.resize_range),
        noise1=_draw_noise(rng, c.gaussian_noise_prob, c.noise_range, c.poisson_scale_range, c.gray_noise_prob),
        quality1=rng.uniform(*c.jpeg_range),
        blur2=blur2,
        resize2=_draw_resize(rng, c.resize_prob2, c.resize_range2),
        noise2=_draw_noise(rng, c.gaussian_noise_prob2, c.noise_range2, c.poisson_scale_range2, c.gray_noise_prob2),
        quality2=rng.uniform(*c.jpeg_range2),
        final_mode=_draw_mode(rng, c.final_modes),
        sinc=draw_final_sinc(rng, c.blur_kernel_size2, c.final_sinc_prob),
        sinc_first=bool(rng.random() < 0.5),
    )
    drawn = _drop_steps(drawn, config, rng)
    if tuple(c.strength) == (1.0, 1.0) or _happens(rng, c.full_strength_prob):
        return drawn
    return weaken(drawn, rng.uniform(*c.strength))


@torch.no_grad()
def apply(hq_3HW: Tensor, degradation: Degradation, scale: int) -> Tensor:
    """Degrade one image; the same arguments on the same kind of device give the same result.

    It runs in one thread, since the rounding of matrix products depends on the number of threads, and in float32 also
    under autocast.

    Args:
        hq_3HW: [0, 1], H and W multiples of `scale`.
        degradation: the numbers of all steps.
        scale: H / h.

    Returns:
        lq_3hw, [0, 1], rounded to 255 levels.

    Raises:
        ValueError: the picture is not (3, H, W) float in [0, 1], or `scale` does not divide H and W.
    """
    require_picture(hq_3HW, "HQ picture")
    return _apply(hq_3HW, degradation, scale)


@torch.no_grad()
def stages(hq_3HW: Tensor, degradation: Degradation, scale: int) -> list[tuple[str, Tensor]]:
    """All steps of `apply`: the name of each step and the image (3, y, x) after it; the last image is lq_3hw.

    Steps that are left out are listed too, with the image unchanged. Arguments and errors are those of `apply`.
    """
    require_picture(hq_3HW, "HQ picture")
    return list(_checked_steps(hq_3HW, degradation, scale))


@torch.no_grad()
def _apply(hq_3HW: Tensor, degradation: Degradation, scale: int) -> Tensor:
    """`apply` to a picture whose values are known to be right."""
    _, lq_3hw = deque(_checked_steps(hq_3HW, degradation, scale), maxlen=1).pop()
    return lq_3hw


def _checked_steps(hq_3HW: Tensor, degradation: Degradation, scale: int) -> Iterator[tuple[str, Tensor]]:
    if hq_3HW.shape[1] % scale or hq_3HW.shape[2] % scale:
        raise ValueError(f"cannot degrade a {tuple(hq_3HW.shape)} image; give (3, H, W), H and W multiples of {scale}")
    # An aligned, contiguous copy: a view into a batch may be rounded differently.
    hq_3HW = hq_3HW.clone(memory_format=torch.contiguous_format)
    with one_thread(), torch.autocast(hq_3HW.device.type, enabled=False):
        yield from _steps(hq_3HW, degradation, (hq_3HW.shape[1] // scale, hq_3HW.shape[2] // scale))


def _steps(hq_3HW: Tensor, d: Degradation, size: tuple[int, int]) -> Iterator[tuple[str, Tensor]]:
    """All steps in their order; `size` is that of the LQ image."""
    yield "sharpen", (image_3yx := sharpen(hq_3HW) if d.sharpen else hq_3HW)
    yield "blur 1", (image_3yx := _blur(image_3yx, d.blur1))
    yield "resize 1", (image_3yx := _resize_by(image_3yx, d.resize1))
    yield "noise 1", (image_3yx := _add_noise(image_3yx, d.noise1))
    yield "JPEG 1", (image_3yx := _compress(image_3yx, d.quality1))
    yield "blur 2", (image_3yx := _blur(image_3yx, d.blur2))
    if d.resize2 is not None:
        height, width = (max(1, int(side * d.resize2.factor)) for side in size)
        image_3yx = _resize_to(image_3yx, (height, width), d.resize2.mode)
    yield "resize 2", image_3yx
    yield "noise 2", (image_3yx := _add_noise(image_3yx, d.noise2))
    if not d.sinc_first:
        yield "JPEG 2", (image_3yx := _compress(image_3yx, d.quality2))
    yield "final size", (image_3yx := _resize_to(image_3yx, size, d.final_mode))
    yield "final sinc", (image_3yx := _blur(image_3yx, d.sinc))
    if d.sinc_first:
        yield "JPEG 2", (image_3yx := _compress(image_3yx, d.quality2))
    yield "8 bits", (image_3yx * 255).round().clamp(0, 255) / 255


def degrade(
    hq_B3HW: Tensor, config: DegradationConfig, rngs: Sequence[np.random.Generator] | np.random.Generator
) -> tuple[Tensor, list[Degradation]]:
    """Draw and apply one degradation per image; each image depends only on its generator, not on the batch.

    Args:
        hq_B3HW: [0, 1], H and W multiples of `config.scale`.
        config: the distributions.
        rngs: one generator per image, or the generator of a single one; each is advanced.

    Returns:
        lq_B3hw, [0, 1], rounded to 255 levels; and the B degradations.

    Raises:
        ValueError: as `check_batch` and `apply`.
    """
    rngs = [rngs] if isinstance(rngs, np.random.Generator) else rngs
    check_batch(hq_B3HW, rngs)
    degradations = [draw(config, rng) for rng in rngs]
    return apply_all(hq_B3HW, degradations, config.scale), degradations


def apply_all(images: Iterable[Tensor], degradations: Sequence[Degradation], scale: int) -> Tensor:
    """`apply` to each image hq_3HW with its own degradation; on a CPU, as many images at once as torch has threads.

    Threads with one image each need not wait for each other, unlike threads that share every step of one image.
    Returns lq_B3hw. Values are not checked, which `check_batch` does. Raises what `apply` raises otherwise, and
    ValueError unless there is one degradation per image. Torch's number of threads is changed and restored: do not call
    this from several threads at once.
    """
    images = list(images)
    if len(degradations) != len(images):
        raise ValueError(f"{len(degradations)} degradations for {len(images)} images; give one for each")
    if images[0].device.type != "cpu":
        return torch.stack([_apply(hq_3HW, one, scale) for hq_3HW, one in zip(images, degradations, strict=True)])
    threads = torch.get_num_threads()
    try:
        with ThreadPoolExecutor(threads) as pool:
            return torch.stack(list(pool.map(_apply, images, degradations, repeat(scale))))
    finally:
        torch.set_num_threads(threads)  # new threads inherit the number that any thread set last


def check_batch(hq_B3HW: Tensor, rngs: Sequence[np.random.Generator]) -> None:
    """Raise ValueError unless the batch is (B, 3, H, W), float in [0, 1], with B > 0 images and as many generators."""
    require_batch(hq_B3HW, "HQ pictures")
    require_one_each(rngs, hq_B3HW, "random generator")


def _draw_blurs(config: DegradationConfig, rng: np.random.Generator) -> tuple[Kernel, Kernel]:
    c = config
    blur1 = draw_blur(
        rng, c.blur_kernel_size, c.sinc_prob, c.kernel_list, c.kernel_prob, c.blur_sigma, c.betag_range, c.betap_range
    )
    if rng.random() >= c.second_blur_prob:
        return blur1, DELTA
    size, shapes, odds = c.blur_kernel_size2, c.kernel_list2, c.kernel_prob2
    return blur1, draw_blur(rng, size, c.sinc_prob2, shapes, odds, c.blur_sigma2, c.betag_range2, c.betap_range2)


def _drop_steps(drawn: Degradation, config: DegradationConfig, rng: np.random.Generator) -> Degradation:
    """Remove steps at random, after all other draws, so that the remaining steps keep their numbers."""
    c = config
    if not _happens(rng, c.blur_prob):
        drawn = replace(drawn, blur1=DELTA)
    if not _happens(rng, c.noise_prob):
        drawn = replace(drawn, noise1=replace(drawn.noise1, strength=0.0))
    if not _happens(rng, c.jpeg_prob):
        drawn = replace(drawn, quality1=None)
    if not _happens(rng, c.second_order_prob):
        drawn = replace(drawn, blur2=DELTA, resize2=None, noise2=replace(drawn.noise2, strength=0.0))
    if not _happens(rng, c.jpeg_prob2):
        drawn = replace(drawn, quality2=None)
    return drawn


def _happens(rng: np.random.Generator, probability: float) -> bool:
    """Whether something happens; probabilities 0 and 1 draw nothing."""
    return probability >= 1 or (probability > 0 and bool(rng.random() < probability))


def _draw_mode(rng: np.random.Generator, modes: Sequence[str]) -> Mode:
    return cast(Mode, modes[int(rng.integers(len(modes)))])


def _draw_resize(
    rng: np.random.Generator, odds: tuple[float, float, float], factor_range: tuple[float, float]
) -> Resize:
    """Enlarge, reduce or keep with the given probabilities, uniformly above or below 1."""
    choice = rng.choice(3, p=np.asarray(odds) / sum(odds))
    factor = 1.0 if choice == 2 else uniform_either_side(rng, *factor_range, below=bool(choice == 1))
    return Resize(factor, _draw_mode(rng, RESIZE_MODES))


def _draw_noise(
    rng: np.random.Generator,
    gaussian_prob: float,
    sigma_range: tuple[float, float],
    scale_range: tuple[float, float],
    gray_prob: float,
) -> Noise:
    gaussian = rng.random() < gaussian_prob
    strength = rng.uniform(*(sigma_range if gaussian else scale_range))
    gray = bool(rng.random() < gray_prob)
    return Noise("gaussian" if gaussian else "poisson", strength, gray, seed=int(rng.integers(2**63)))


def _blur(image_3yx: Tensor, kernel: Kernel) -> Tensor:
    if kernel.shape == "delta":
        return image_3yx
    return convolve(image_3yx, torch.from_numpy(kernel.matrix()).to(image_3yx.device))


def _resize_by(image_3yx: Tensor, resize: Resize) -> Tensor:
    """Resize by a factor, which also decides sample positions; resizing to the rounded size would differ."""
    factor = max(resize.factor, 1.001 / min(image_3yx.shape[1:]))  # keep at least one pixel
    return F.interpolate(image_3yx[None], scale_factor=factor, mode=resize.mode)[0]


def _resize_to(image_3yx: Tensor, size: tuple[int, int], mode: Mode) -> Tensor:
    if mode == ANTIALIASED:
        return F.interpolate(image_3yx[None], size=size, mode="bicubic", antialias=True)[0]
    return F.interpolate(image_3yx[None], size=size, mode=mode)[0]


def _add_noise(image_3yx: Tensor, noise: Noise) -> Tensor:
    """Add noise, then clamp; values that a bicubic resize put outside [0, 1] are not clamped before, as published."""
    if noise.strength > 0:
        generator = torch.Generator(image_3yx.device).manual_seed(noise.seed)
        add = add_gaussian if noise.kind == "gaussian" else add_poisson
        image_3yx = add(image_3yx, noise.strength, noise.gray, generator)
    return image_3yx.clamp(0, 1)


def _compress(image_3yx: Tensor, quality: float | None) -> Tensor:
    if quality is None:
        return image_3yx
    return jpeg(image_3yx.clamp(0, 1), quality)
