"""Linear filters with mirrored borders, and the unsharp mask built from them.

Knows how to convolve an image. Knows nothing of which kernels are drawn (`kernels.py`) or when (`pipeline.py`).

Pixels are RGB float32 in [0, 1]. Shape legend: C channels, H W height and width [px], y x height and width of a kernel,
n length of an axis.
"""

from collections.abc import Iterator
from functools import lru_cache

import torch
from scipy.fft import next_fast_len
from torch import Tensor
from torch.nn import functional as F

USM_SIZE = 51
USM_SIGMA = 8.0
"""By OpenCV's rule for a size of 51 px, 0.3 ((51 - 1) / 2 - 1) + 0.8 [px]."""
USM_BLOCK = 64
"""Pixels per matrix product: longer blocks multiply more zeros, shorter ones need more calls."""


def convolve(image_CHW: Tensor, kernel_yx: Tensor) -> Tensor:
    """Filter every channel with one kernel of odd sides; borders are mirrored without repeating the edge row.

    A product of spectra: exact, and as fast for large kernels as for small ones.

    Args:
        image_CHW: any range; an image smaller than the kernel is mirrored repeatedly.
        kernel_yx: on the image's device; not flipped (a correlation, as in OpenCV and in Real-ESRGAN).

    Returns:
        filtered_CHW.
    """
    height, width = image_CHW.shape[1:]
    rows, columns = kernel_yx.shape
    # Values that wrap around end in rows and columns that are cut off.
    size = next_fast_len(height + rows - 1, real=True), next_fast_len(width + columns - 1, real=True)
    padded_CHW = _mirror(_mirror(image_CHW, 1, rows // 2, size[0]), 2, columns // 2, size[1])
    spectrum = torch.fft.rfft2(padded_CHW)
    spectrum *= torch.fft.rfft2(kernel_yx.to(image_CHW), s=size).conj()
    return torch.fft.irfft2(spectrum, s=size)[:, :height, :width]


def sharpen(image_3HW: Tensor, weight: float = 0.5, threshold: float = 10.0) -> Tensor:
    """Unsharp mask, as Real-ESRGAN applies it to the HQ image (arXiv 2107.10833, section 3.4).

    Args:
        image_3HW: [0, 1].
        weight: share of the detail that is added again.
        threshold: detail that counts as an edge [levels of 255]; the mask of edges is blurred like the image.

    Returns:
        sharp_3HW, [0, 1].
    """
    detail_3HW = image_3HW - _usm_blur(image_3HW)
    mask_3HW = _usm_blur((detail_3HW.abs() > threshold / 255).to(image_3HW))
    sharp_3HW = torch.add(image_3HW, detail_3HW, alpha=weight).clamp_(0, 1)
    return torch.lerp(image_3HW, sharp_3HW, mask_3HW).clamp_(0, 1)


def _usm_blur(image_CHW: Tensor) -> Tensor:
    """Blur along both axes, by products with the nonzero parts of the filter's matrix."""
    channels, height, width = image_CHW.shape
    down_nn, across_nn = (_usm_matrix(length, image_CHW.device) for length in (height, width))
    rows = image_CHW.reshape(channels * height, width)
    rows = torch.cat([rows[:, near] @ across_nn[block, near].T for block, near in _bands(width)], dim=1)
    image_CHW = rows.view(channels, height, width)
    return torch.cat([down_nn[block, near] @ image_CHW[:, near] for block, near in _bands(height)], dim=1)


def _bands(length: int) -> Iterator[tuple[slice, slice]]:
    """Blocks of an axis, each with the pixels that it depends on, mirrored ones included."""
    reach = USM_SIZE // 2
    for start in range(0, length, USM_BLOCK):
        end = min(length, start + USM_BLOCK)
        yield slice(start, end), slice(max(0, start - reach), min(length, end + reach))


@lru_cache(maxsize=4)  # the matrix of a large photograph takes 100 MB
def _usm_matrix(length: int, device: torch.device) -> Tensor:
    """The 51 px Gaussian along one mirrored axis, as matrix_nn @ column_n; the 2D Gaussian is separable."""
    offset = torch.arange(USM_SIZE, dtype=torch.float64) - USM_SIZE // 2
    line = torch.exp(-0.5 * (offset / USM_SIGMA) ** 2)
    period = max(1, 2 * (length - 1))
    at = (torch.arange(length)[:, None] + offset.long()) % period
    matrix_nn = torch.zeros(length, length, dtype=torch.float64)
    matrix_nn.scatter_add_(1, torch.minimum(at, period - at) % length, (line / line.sum()).expand(length, -1))
    return matrix_nn.to(device, torch.float32)


def _mirror(image_CHW: Tensor, axis: int, before: int, length: int) -> Tensor:
    """Axis 1 or 2 mirrored, `length` pixels from `before` its start: 4 pixels, 2, 8 give 2 1 | 0 1 2 3 | 2 1."""
    after = length - before - image_CHW.shape[axis]
    while before or after:
        side = image_CHW.shape[axis]
        steps = min(before, max(1, side - 1)), min(after, max(1, side - 1))
        padding = (0, 0, *steps) if axis == 1 else (*steps, 0, 0)
        image_CHW = F.pad(image_CHW[None], padding, mode="reflect" if side > 1 else "replicate")[0]
        before, after = before - steps[0], after - steps[1]
    return image_CHW
