"""JPEG compression and decompression on tensors.

Knows baseline JPEG with 4:2:0 chroma (ITU-T T.81) up to the rounding of the coefficients; entropy coding is lossless
and left out. Knows nothing of files or of the pipeline. Where DiffJPEG, which Real-ESRGAN trains with, differs from
common encoders, this file follows it; each such choice is marked "as DiffJPEG".

Pixels are RGB float32 in [0, 1]. Shape legend: C channels, H W height and width [px], n m blocks down and across,
s side of a block [px], p its s^2 pixels, f the 64 frequencies of a block.
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


def jpeg(image_3HW: Tensor, quality: float) -> Tensor:
    """Compress and decompress.

    Args:
        image_3HW: [0, 1], any height and width.
        quality: above 0 to 100; fractions are allowed.

    Returns:
        image_3HW, [0, 1].

    Raises:
        ValueError: the shape is not (3, H, W), or the quality is out of range.
    """
    if image_3HW.ndim != 3 or image_3HW.shape[0] != 3:
        raise ValueError(f"cannot compress an image of shape {tuple(image_3HW.shape)}; give (3, H, W)")
    if not 0 < quality <= 100:
        raise ValueError(f"JPEG quality {quality} is out of range; give a number above 0, up to 100")
    height, width = image_3HW.shape[1:]
    to_ycc_33, to_rgb_33, luma_f, chroma_f, luma_fp, chroma_fp = _constants(image_3HW.device)
    factor = _factor(quality)
    # Black pads bottom and right to whole chroma blocks: as DiffJPEG; encoders repeat the edge instead.
    padded_3HW = F.pad(image_3HW, (0, -width % 16, 0, -height % 16))
    ycc_3HW = torch.mm(to_ycc_33, padded_3HW.flatten(1)).view_as(padded_3HW)
    ycc_3HW[0] -= 128
    # A chroma block covers 16 px: its matrices average four pixels before the DCT and repeat the value after it.
    luma_1HW = _quantise(ycc_3HW[:1], luma_fp, luma_fp, luma_f * factor)
    chroma_2HW = _quantise(ycc_3HW[1:], chroma_fp, 4 * chroma_fp, chroma_f * factor)
    ycc_3HW = torch.cat([luma_1HW + 128, chroma_2HW])
    rgb_3HW = torch.mm(to_rgb_33, ycc_3HW.flatten(1)).view_as(padded_3HW)
    return rgb_3HW[:, :height, :width].clamp(0, 1)


def _quantise(plane_CHW: Tensor, forward_fp: Tensor, back_fp: Tensor, step_f: Tensor) -> Tensor:
    """Round the DCT coefficients of every block to multiples of their step; planes are [-128, 127]."""
    channels, height, width = plane_CHW.shape
    side = math.isqrt(forward_fp.shape[1])
    blocks_CnmSS = plane_CHW.view(channels, height // side, side, width // side, side).transpose(2, 3)
    # Steps are at least 1, as in T.81; DiffJPEG divides by 0 at quality 100.
    step_f1 = step_f.clamp(min=1)[:, None]
    level = torch.round(blocks_CnmSS.reshape(-1, side * side) @ (forward_fp / step_f1).T)
    blocks_CnmSS = (level @ (back_fp * step_f1)).view(blocks_CnmSS.shape)
    return blocks_CnmSS.transpose(2, 3).reshape(plane_CHW.shape)


def _factor(quality: float) -> float:
    """The Independent JPEG Group's scale of the tables, without its rounding to whole percent."""
    return 50 / quality if quality < 50 else 2 - quality / 50


@cache
def _constants(device: torch.device) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Colour matrices between [0, 1] and [0, 255], quantization steps and DCT matrices: luma, then chroma."""
    # The luma table is transposed (rows are horizontal frequencies): as DiffJPEG.
    luma_f = torch.tensor(LUMA_TABLE).T.flatten()
    chroma_f = F.pad(torch.tensor(CHROMA_CORNER), (0, 4, 0, 4), value=99).flatten()
    line = torch.arange(8, dtype=torch.float64)
    dct_88 = torch.cos(math.pi / 16 * line[:, None] * (2 * line + 1)) / 2
    dct_88[0] /= math.sqrt(2)
    halved_816 = dct_88.repeat_interleave(2, dim=1) / 2
    luma_fp, chroma_fp = torch.kron(dct_88, dct_88), torch.kron(halved_816, halved_816)
    to_ycc_33, to_rgb_33 = torch.tensor(RGB_TO_YCC) * 255, torch.tensor(YCC_TO_RGB) / 255
    made = to_ycc_33, to_rgb_33, luma_f, chroma_f, luma_fp, chroma_fp
    to_ycc_33, to_rgb_33, luma_f, chroma_f, luma_fp, chroma_fp = (matrix.float().to(device) for matrix in made)
    return to_ycc_33, to_rgb_33, luma_f, chroma_f, luma_fp, chroma_fp
