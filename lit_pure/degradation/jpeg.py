"""JPEG compression and decompression on tensors.

Knows baseline JPEG with 4:2:0 chroma (ITU-T T.81) up to the rounding of the coefficients; entropy coding loses nothing
and is left out. Knows nothing of files or of the pipeline. It repeats the choices of DiffJPEG, which Real-ESRGAN
trains with, where they differ from common encoders; each is marked "as DiffJPEG" below.

Pixels are RGB float32 in [0, 1]. Shape legend: B images, C channels, H W height and width [px], n m blocks down and
across, 8 side of a block.
"""

import math
from functools import cache

import torch
from torch import Tensor
from torch.nn import functional as F

LUMA_TABLE = (
    (16, 11, 10, 16, 24, 40, 51, 61),
    (12, 12, 14, 19, 26, 58, 60, 55),
    (14, 13, 16, 24, 40, 57, 69, 56),
    (14, 17, 22, 29, 51, 87, 80, 62),
    (18, 22, 37, 56, 68, 109, 103, 77),
    (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101),
    (72, 92, 95, 98, 112, 100, 103, 99),
)
"""Luma steps of T.81 table K.1; rows are vertical frequencies."""
CHROMA_CORNER = ((17, 18, 24, 47), (18, 21, 26, 66), (24, 26, 56, 99), (47, 66, 99, 99))
"""Chroma steps of T.81 table K.2 at low frequencies; all others are 99."""
RGB_TO_YCC = ((0.299, 0.587, 0.114), (-0.168736, -0.331264, 0.5), (0.5, -0.418688, -0.081312))
YCC_TO_RGB = ((1.0, 0.0, 1.402), (1.0, -0.344136, -0.714136), (1.0, 1.772, 0.0))
"""JFIF 1.02, without the offset of 128 that chroma has in a file."""


def jpeg(image_B3HW: Tensor, quality_B: Tensor) -> Tensor:
    """Compress and decompress.

    Args:
        image_B3HW: [0, 1], any height and width.
        quality_B: of each image, above 0 to 100; fractions are allowed.

    Returns:
        image_B3HW, [0, 1].

    Raises:
        ValueError: the shapes do not fit, or a quality is out of range.
    """
    if image_B3HW.ndim != 4 or image_B3HW.shape[1] != 3 or quality_B.shape != image_B3HW.shape[:1]:
        found = f"images {tuple(image_B3HW.shape)} and qualities {tuple(quality_B.shape)}"
        raise ValueError(f"cannot compress {found}; give (B, 3, H, W) and (B,)")
    if not bool(((quality_B > 0) & (quality_B <= 100)).all()):
        raise ValueError(f"JPEG qualities {quality_B.tolist()} are not all above 0 and at most 100")
    height, width = image_B3HW.shape[-2:]
    luma_88, chroma_88, to_ycc_33, to_rgb_33, dct_88 = _constants(image_B3HW.device, image_B3HW.dtype)
    factor_B11111 = _factor(quality_B.to(image_B3HW)).view(-1, 1, 1, 1, 1, 1)
    # Black below and to the right up to whole blocks of chroma: as DiffJPEG; encoders repeat the edge instead.
    padded_B3HW = F.pad(image_B3HW, (0, -width % 16, 0, -height % 16))
    ycc_B3HW = torch.einsum("ij,bjhw->bihw", to_ycc_33, padded_B3HW * 255)
    luma_B1HW = _quantise(ycc_B3HW[:, :1] - 128, luma_88, factor_B11111, dct_88) + 128
    chroma_B2hw = _quantise(F.avg_pool2d(ycc_B3HW[:, 1:], 2), chroma_88, factor_B11111, dct_88)
    ycc_B3HW = torch.cat([luma_B1HW, F.interpolate(chroma_B2hw, scale_factor=2, mode="nearest")], dim=1)
    rgb_B3HW = torch.einsum("ij,bjhw->bihw", to_rgb_33, ycc_B3HW)
    return rgb_B3HW[..., :height, :width].clamp(0, 255) / 255


def _quantise(plane_BCHW: Tensor, table_88: Tensor, factor_B11111: Tensor, dct_88: Tensor) -> Tensor:
    """Round the DCT coefficients of every 8x8 block to multiples of their step; planes are [-128, 127]."""
    images, channels, height, width = plane_BCHW.shape
    blocks_BCnm88 = plane_BCHW.view(images, channels, height // 8, 8, width // 8, 8).transpose(3, 4)
    # No step is below 1, as in T.81; DiffJPEG divides by 0 at quality 100.
    step_B11188 = (table_88 * factor_B11111).clamp(min=1)
    level_BCnm88 = torch.round(dct_88 @ blocks_BCnm88 @ dct_88.T / step_B11188)
    blocks_BCnm88 = dct_88.T @ (level_BCnm88 * step_B11188) @ dct_88
    return blocks_BCnm88.transpose(3, 4).reshape(plane_BCHW.shape)


def _factor(quality_B: Tensor) -> Tensor:
    """The Independent JPEG Group's factor of the tables, in real numbers: their percents are not rounded."""
    return torch.where(quality_B < 50, 50 / quality_B, 2 - quality_B / 50)


@cache
def _constants(device: torch.device, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Luma steps, chroma steps, colour matrix and its inverse, orthonormal DCT (rows are frequencies)."""
    # The luma table stands transposed (rows are horizontal frequencies): as DiffJPEG.
    luma_88 = torch.tensor(LUMA_TABLE).T
    chroma_88 = F.pad(torch.tensor(CHROMA_CORNER), (0, 4, 0, 4), value=99)
    line = torch.arange(8, dtype=torch.float64)
    dct_88 = torch.cos(math.pi / 16 * line[:, None] * (2 * line + 1)) / 2
    dct_88[0] /= math.sqrt(2)
    matrices = luma_88, chroma_88, torch.tensor(RGB_TO_YCC), torch.tensor(YCC_TO_RGB), dct_88
    luma_88, chroma_88, to_ycc_33, to_rgb_33, dct_88 = (matrix.to(device, dtype) for matrix in matrices)
    return luma_88, chroma_88, to_ycc_33, to_rgb_33, dct_88
