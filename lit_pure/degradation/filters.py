"""Linear filters with mirrored borders, and the unsharp mask that is built from them.

Knows how to convolve an image. Knows nothing of which kernels are drawn (`kernels.py`) or when (`pipeline.py`).

Pixels are RGB float32 in [0, 1]. Shape legend: C channels, H W height and width [px], y x height and width of a kernel.
"""

from functools import cache

import torch
from torch import Tensor
from torch.nn import functional as F

USM_SIZE = 51
USM_SIGMA = 8.0
"""OpenCV's rule for a size of 51 px, 0.3 ((51 - 1) / 2 - 1) + 0.8 [px]."""


def convolve(image_CHW: Tensor, kernel_yx: Tensor) -> Tensor:
    """Filter every channel with one kernel of odd sides; beyond a border stands the mirror image without the edge row.

    Args:
        image_CHW: any range; may be smaller than the kernel, then it is mirrored repeatedly.
        kernel_yx: on the image's device; not flipped (a correlation, as in OpenCV and in Real-ESRGAN).

    Returns:
        filtered_CHW.
    """
    channels, height, width = image_CHW.shape
    rows, columns = kernel_yx.shape
    row_index = _mirror(height, rows // 2, image_CHW.device)
    column_index = _mirror(width, columns // 2, image_CHW.device)
    padded_CHW = image_CHW[:, row_index[:, None], column_index]
    weight = kernel_yx.to(image_CHW).expand(channels, 1, rows, columns).contiguous()
    return F.conv2d(padded_CHW[None], weight, groups=channels)[0]


def sharpen(image_3HW: Tensor, weight: float = 0.5, threshold: float = 10.0) -> Tensor:
    """Unsharp mask as Real-ESRGAN applies it to the HQ image (arXiv 2107.10833, section 3.4).

    Args:
        image_3HW: [0, 1].
        weight: share of the detail that is added once more.
        threshold: detail that counts as an edge [levels of 255]; the mask of edges is blurred like the image.

    Returns:
        sharp_3HW, [0, 1].
    """
    detail_3HW = image_3HW - _usm_blur(image_3HW)
    mask_3HW = _usm_blur((detail_3HW.abs() * 255 > threshold).to(image_3HW))
    sharp_3HW = (image_3HW + weight * detail_3HW).clamp(0, 1)
    return image_3HW + mask_3HW * (sharp_3HW - image_3HW)


def _usm_blur(image_CHW: Tensor) -> Tensor:
    line = _usm_line().to(image_CHW)
    return convolve(convolve(image_CHW, line[:, None]), line[None, :])


@cache
def _usm_line() -> Tensor:
    """The 51 px Gaussian in one dimension; the square one is its outer product with itself."""
    offset = torch.arange(USM_SIZE, dtype=torch.float64) - USM_SIZE // 2
    line = torch.exp(-0.5 * (offset / USM_SIGMA) ** 2)
    return (line / line.sum()).float()


def _mirror(length: int, margin: int, device: torch.device) -> Tensor:
    """Indices of a mirrored axis: 2 1 | 0 1 2 3 | 2 1 for a length of 4 and a margin of 2."""
    period = max(1, 2 * (length - 1))
    index = torch.arange(-margin, length + margin, device=device) % period
    return torch.minimum(index, period - index) if length > 1 else torch.zeros_like(index)
