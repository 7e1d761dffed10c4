"""How entropy maps relate to edges and texture of the picture, cell by cell (the paper's figure 3, measured).

Knows luma and gradients. Knows nothing of models.

Suffixes: 3 RGB, H W picture [px], h w grid of cells, M cells.
"""

import math

import torch
import torch.nn.functional as F
from scipy.stats import spearmanr
from torch import Tensor

from lit_pure.images.color import luma
from lit_pure.images.io import from_bytes

FINE = 3
"""Side of the mean filter [px]; texture is what remains of luma without this mean."""
_SOBEL = torch.tensor([[-1.0, 0.0, 1.0], [-2.0, 0.0, 2.0], [-1.0, 0.0, 1.0]]) / 8


def edges(picture_3HW: Tensor, cell: int) -> Tensor:
    """Mean length of the gradient of luma (Sobel) in each cell [1 / px].

    Args:
        picture_3HW: in [0, 1].
        cell: side of a cell [px]; cells at the right and lower edge may be cut.

    Returns:
        `(h, w)`.
    """
    padded = F.pad(luma(picture_3HW)[None, None], (1, 1, 1, 1), mode="replicate")
    across, down = (F.conv2d(padded, kernel[None, None]) for kernel in (_SOBEL, _SOBEL.T))
    return _mean(torch.hypot(across, down), cell)


def texture(picture_3HW: Tensor, cell: int) -> Tensor:
    """Energy of the finest detail in each cell: mean square of luma minus its mean over `FINE` x `FINE` px; (h, w)."""
    luma_11HW = luma(picture_3HW)[None, None]
    smooth = F.avg_pool2d(F.pad(luma_11HW, (FINE // 2,) * 4, mode="replicate"), FINE, stride=1)
    return _mean((luma_11HW - smooth).square(), cell)


def correlations(picture_3HW: Tensor, entropy_hw: Tensor, cell: int) -> dict[str, float]:
    """Spearman's rank correlation of entropy with edges and with texture, over cells; NaN where one does not vary.

    Args:
        picture_3HW: uint8, the true picture.
        entropy_hw: of each cell [nats].
        cell: side of a cell [px].
    """
    picture_3HW = from_bytes(picture_3HW)
    found = {"entropy-edges": edges(picture_3HW, cell), "entropy-texture": texture(picture_3HW, cell)}
    return {key: spearman(map_hw.flatten(), entropy_hw.flatten()) for key, map_hw in found.items()}


def spearman(a_M: Tensor, b_M: Tensor) -> float:
    """Rank correlation; equal numbers share their mean rank. NaN where all numbers of one tensor are equal."""
    if len(a_M) != len(b_M):
        raise ValueError(f"{len(a_M)} numbers against {len(b_M)}: give one of each for every cell")
    if min(len(a_M.unique()), len(b_M.unique())) < 2:  # scipy would warn
        return math.nan
    return float(spearmanr(a_M.numpy(), b_M.numpy()).statistic)


def _mean(map_11HW: Tensor, cell: int) -> Tensor:
    """Mean over each cell; where a cell is cut, over the part that exists."""
    return F.avg_pool2d(map_11HW, cell, ceil_mode=True)[0, 0]
