"""SSIM and NIQE of pyiqa, a band of rows at a time: the same figures, in hardly more memory than the picture takes.

pyiqa filters the whole picture at once, and on a CPU a convolution in float64 copies it for every pixel of the window:
1,200 bytes a pixel. Knows how a picture is cut into bands whose results do not depend on the cut. Knows nothing of
precision, devices or files.

Suffixes: B images, 3 RGB, C channels, H height, W width, h w of a band, M maps.
"""

from typing import Any, cast

import torch
from torch import Tensor, nn

ROWS = 64
"""Rows of an SSIM map computed at once: a band fits into the processor's cache."""
_WINDOW = 11
_SIGMA = 1.5  # px
_C1, _C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
_LUMA, _BLACK = (65.481, 128.553, 24.966), 16.0  # Y of MATLAB's rgb2ycbcr, in 8-bit levels
_HALO = 3  # px around a block that NIQE's window of 7 px sees
_RESIZE_HALO = 8  # px around a band that halving its size sees; even, so that all bands halve alike


class Ssim(nn.Module):
    """SSIM with a Gaussian window of 11 px (Wang 2004), on rounded 8-bit levels of the luma or of all three channels.

    Args:
        luma: whether only the luma is compared.
    """

    def __init__(self, luma: bool) -> None:
        super().__init__()
        self.luma = luma
        taps = torch.exp(-((torch.arange(_WINDOW) - _WINDOW // 2).double() ** 2) / (2 * _SIGMA**2))
        window = torch.outer(taps, taps) / taps.sum() ** 2
        # pyiqa's window is rounded to float32, so that its sum is not one: figures of flat areas depend on it.
        self._taps = (taps / taps.sum() * window.float().double().sum().sqrt()).tolist()

    def forward(self, pred_B3HW: Tensor, target_B3HW: Tensor) -> Tensor:
        """One score per image `(B,)`; images in [0, 1], both sides at least 11 px."""
        height, width = (side - _WINDOW + 1 for side in pred_B3HW.shape[2:])
        total_B = pred_B3HW.new_zeros(len(pred_B3HW))
        for top in range(0, height, ROWS):
            band = slice(top, min(top + ROWS, height) + _WINDOW - 1)
            total_B += self._map(*(self._levels(image[:, :, band]) for image in (pred_B3HW, target_B3HW))).sum(
                (1, 2, 3)
            )
        return total_B / (height * width * (1 if self.luma else 3))

    def _levels(self, band_B3hW: Tensor) -> Tensor:
        """Rounded levels (B, C, h, W) in 0..255."""
        if not self.luma:
            return (band_B3hW * 255).round()
        weights_31 = torch.tensor(_LUMA, dtype=torch.float32).to(band_B3hW)[:, None]  # as pyiqa has them
        luma_BhW1 = (band_B3hW.permute(0, 2, 3, 1) @ weights_31 + _BLACK) / 255 * 255
        return luma_BhW1.round().permute(0, 3, 1, 2)

    def _map(self, a_BChW: Tensor, b_BChW: Tensor) -> Tensor:
        """SSIM at each pixel with a whole window around it; negative structure counts as none."""
        maps_MBChW = torch.stack([a_BChW, b_BChW, a_BChW * a_BChW, b_BChW * b_BChW, a_BChW * b_BChW])
        mean_a, mean_b, mean_aa, mean_bb, mean_ab = self._blurred(maps_MBChW)
        structure = (2 * (mean_ab - mean_a * mean_b) + _C2) / (mean_aa - mean_a**2 + mean_bb - mean_b**2 + _C2)
        return (2 * mean_a * mean_b + _C1) / (mean_a**2 + mean_b**2 + _C1) * structure.relu()

    def _blurred(self, maps: Tensor) -> Tensor:
        """Maps filtered by the window, along columns, then along rows; smaller by 10 px."""
        for axis in (-2, -1):
            length = maps.shape[axis] - _WINDOW + 1
            blurred = maps.narrow(axis, 0, length) * self._taps[0]
            for offset, tap in enumerate(self._taps[1:], start=1):
                blurred.add_(maps.narrow(axis, offset, length), alpha=tap)
            maps = blurred
        return maps


class Niqe(nn.Module):
    """pyiqa's NIQE, a row of its blocks at a time.

    Args:
        whole: pyiqa's module, which has the parameters of pristine pictures.
    """

    def __init__(self, whole: nn.Module) -> None:
        super().__init__()
        self._whole: Any = whole

    def forward(self, image_B3HW: Tensor) -> Tensor:
        """One score per image; images in [0, 1], both sides at least 96 px."""
        from pyiqa.archs.niqe_arch import nancov, nanmean

        luma_B1HW = self._luma(image_B3HW)
        features = torch.cat([_features(luma_B1HW, 96), _features(_halved(luma_B1HW), 48)], -1)
        mean, covariance = nanmean(features, dim=1), nancov(features)
        pristine_mean, pristine_covariance = (
            one.to(luma_B1HW) for one in (self._whole.mu_pris_param, self._whole.cov_pris_param)
        )
        inverse = torch.linalg.pinv((pristine_covariance + covariance) / 2)
        apart = (pristine_mean - mean).unsqueeze(1)
        return cast(Tensor, (apart @ inverse @ apart.mT).flatten().sqrt())

    def _luma(self, image_B3HW: Tensor) -> Tensor:
        """The rounded luma of all whole blocks, in 0..255."""
        from pyiqa.utils.color_util import to_y_channel

        height, width = (side // 96 * 96 for side in image_B3HW.shape[2:])
        bands = (image_B3HW[:, :, top : top + 96, :width] for top in range(0, height, 96))
        return torch.cat([to_y_channel(band, 255, self._whole.color_space) for band in bands], 2)


def _features(luma_B1HW: Tensor, side: int) -> Tensor:
    """The features of all blocks of a side [px], row by row: (B, blocks, 18)."""
    from pyiqa.archs.niqe_arch import blockproc, compute_feature, normalize_img_with_gauss

    found = []
    for top in range(0, luma_B1HW.shape[2], side):
        above = min(top, _HALO)
        band = luma_B1HW[:, :, top - above : top + side + _HALO]
        normal = normalize_img_with_gauss(band, padding="replicate")[:, :, above : above + side]
        found.append(blockproc(normal, [side, side], fun=compute_feature))
    return torch.cat(found, 1)


def _halved(luma_B1HW: Tensor) -> Tensor:
    """Half the size, as MATLAB's imresize makes it; height and width are multiples of 96."""
    from pyiqa.matlab_utils import imresize

    halves = []
    for top in range(0, luma_B1HW.shape[2], 96):
        above = min(top, _RESIZE_HALO)
        band = luma_B1HW[:, :, top - above : top + 96 + _RESIZE_HALO]
        half = imresize(band / 255.0, scale=0.5, antialiasing=True) * 255.0
        halves.append(half[:, :, above // 2 : above // 2 + 48])
    return torch.cat(halves, 2)
