"""A decoder that can see the photograph: codes give the picture, the enlarged LQ picture weighs in, level by level.

Knows features of codes, the enlarged LQ picture, and pixels. Knows nothing of codebooks or losses. Nothing in it looks
at the whole picture (it has no norms and no attention), so that a part of a large photograph, with enough context
around it, gets exactly the pixels of the whole.

Levels go from the grid of codes to single pixels; each is half as coarse as the one before. At the levels at which the
photograph has features, these enter by controllable feature transformation (CodeFormer, arXiv 2206.11253, section 3.3):
x + w (scale x + shift), with scale and shift computed from both. At the end there are two pictures, the one that codes
give, and the photograph with detail added; w takes their mean. With all of it, training begins at the photograph.

Shape legend: B pictures, H W picture [px], h w a level's grid, C channels.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lit_pure.config.tokenizer import PhotoDecoderConfig


class CellBlock(nn.Module):
    """3x3 convolution, swish, 3x3 convolution, with a shortcut; at first it changes little, so it needs no norm."""

    radius = 2
    """How far a cell sees [cells]."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1, self.conv2 = (nn.Conv2d(channels, channels, 3, padding=1) for _ in range(2))
        with torch.no_grad():
            self.conv2.weight.mul_(0.1)

    def forward(self, x_BChw: Tensor) -> Tensor:
        return x_BChw + self.conv2(F.silu(self.conv1(x_BChw)))


class Transformation(nn.Module):
    """Controllable feature transformation of a level by the photograph's features; at first it changes nothing."""

    radius = 2

    def __init__(self, channels: int, photo_channels: int) -> None:
        super().__init__()
        self.fuse = nn.Conv2d(channels + photo_channels, channels, 3, padding=1)
        self.out = _silent(nn.Conv2d(channels, 2 * channels, 3, padding=1))

    def forward(self, x_BChw: Tensor, photo_BChw: Tensor, fidelity_B111: Tensor) -> Tensor:
        both_BChw = torch.cat([x_BChw, photo_BChw], dim=1)
        scale_BChw, shift_BChw = self.out(F.silu(self.fuse(both_BChw))).chunk(2, dim=1)
        return x_BChw + fidelity_B111 * (scale_BChw * x_BChw + shift_BChw)


class PhotoDecoder(nn.Module):
    """Features of codes (B, z, h, w) -> pixels (B, 3, h f, w f), about [-1, 1]."""

    def __init__(self, z_channels: int, downsample: int, config: PhotoDecoderConfig) -> None:
        super().__init__()
        self.downsample, channels = downsample, config.channels
        self.first = nn.Conv2d(z_channels, channels[0], 3, padding=1)
        self.levels = nn.ModuleList(
            nn.Sequential(*(CellBlock(width) for _ in range(count)))
            for width, count in zip(channels, config.blocks, strict=True)
        )
        to_pixels = 0.0 if config.sharpen else NEAREST
        # Sub-pixel convolutions instead take no more time, and leave a lattice.
        self.enlarge = nn.ModuleList(
            nn.Sequential(
                Enlarge(to_pixels if number == len(channels) - 1 else 1.0), nn.Conv2d(before, width, 3, padding=1)
            )
            for number, (before, width) in enumerate(pairwise(channels), 1)
        )
        self.last = nn.Conv2d(channels[-1], 3, 3, padding=1)
        self.detail = _silent(nn.Conv2d(channels[-1], 3, 3, padding=1))
        self.sharpen = Sharpen(config.sharpen)
        self.eyes = PhotoEncoder(downsample, config)
        self.transformations = nn.ModuleList(
            Transformation(width, seen) for width, seen in zip(channels, config.photo_channels, strict=False)
        )

    def forward(self, z_BChw: Tensor, photo_B3HW: Tensor | None = None, fidelity_B: Tensor | None = None) -> Tensor:
        """
        Args:
            z_BChw: features of the codes.
            photo_B3HW: the enlarged LQ picture in [-1, 1], of the size of the result; None: codes alone, as with 0.
            fidelity_B: how much each picture's decoder takes from it, in [0, 1].
        """
        seen: list[Tensor] = []
        if photo_B3HW is not None and fidelity_B is not None:
            seen = self.eyes(photo_B3HW)
            fidelity_B111 = fidelity_B.to(z_BChw.dtype).view(-1, 1, 1, 1)
        # With channels last in memory, convolutions are up to twice as fast on a CPU.
        x_BChw = self.first(z_BChw.contiguous(memory_format=torch.channels_last))
        for number, blocks in enumerate(self.levels):
            if number:
                x_BChw = self.enlarge[number - 1](x_BChw)
            if number < len(seen):
                x_BChw = self.transformations[number](x_BChw, seen[number], fidelity_B111)
            x_BChw = blocks(x_BChw)
        made_B3HW: Tensor = self.sharpen(self.last(x_BChw))
        if not seen:
            return made_B3HW
        assert photo_B3HW is not None
        return (1 - fidelity_B111) * made_B3HW + fidelity_B111 * (photo_B3HW + self.sharpen(self.detail(x_BChw)))

    @property
    def context(self) -> int:
        """Cells around a part beyond which nothing changes its pixels."""
        beyond, seen = (
            1 + bool(self.sharpen.amount),
            [0] * len(self.transformations),
        )  # cells of a level beyond the part, from the last one back
        for number in reversed(range(len(self.levels))):
            beyond += CellBlock.radius * len(self.levels[number])  # type: ignore[arg-type]
            if number < len(seen):
                beyond += Transformation.radius
                seen[number] = beyond
            if number:  # the convolution, then the enlargement
                beyond = -(-(beyond + 1 + self.enlarge[number - 1][0].looks) // 2)  # type: ignore[index]
            else:
                beyond += 1
        return max(beyond, -(-self.eyes.beyond(seen) // self.downsample))


class PhotoEncoder(nn.Module):
    """The enlarged LQ picture (B, 3, H, W) in [-1, 1] -> features at the decoder's first levels, coarsest first."""

    def __init__(self, downsample: int, config: PhotoDecoderConfig) -> None:
        super().__init__()
        widths = config.photo_channels[::-1]
        self.fold = downsample >> max(len(widths) - 1, 0)
        self.config = config
        if not widths:
            return
        self.first = nn.Conv2d(3 * self.fold**2, widths[0], 3, padding=1)
        self.levels = nn.ModuleList(
            nn.Sequential(*(CellBlock(width) for _ in range(config.photo_blocks))) for width in widths
        )
        self.reduce = nn.ModuleList(nn.Conv2d(4 * before, width, 1) for before, width in pairwise(widths))

    def forward(self, photo_B3HW: Tensor) -> list[Tensor]:
        if not self.config.photo_channels:
            return []
        folded_BChw = F.pixel_unshuffle(photo_B3HW, self.fold)
        x_BChw = self.first(folded_BChw.contiguous(memory_format=torch.channels_last))
        found: list[Tensor] = []
        for number, blocks in enumerate(self.levels):
            if number:
                x_BChw = self.reduce[number - 1](F.pixel_unshuffle(x_BChw, 2))
            x_BChw = blocks(x_BChw)
            found.append(x_BChw)
        return found[::-1]

    def beyond(self, wanted: Sequence[int]) -> int:
        """How far beyond a part it looks [px], if features of each level are `wanted` that many cells beyond it."""
        cells = 0
        for number, more in enumerate(wanted):
            cells = max(2 * cells if number else 0, more) + CellBlock.radius * self.config.photo_blocks
        return (cells + 1) * self.fold if wanted else 0


class Enlarge(nn.Module):
    """Twice as many cells a side: a share of nearest neighbours, the rest bilinear.

    Nearest cells have steps, which show as a lattice of 2 px where cells become pixels; bilinear ones have none, and
    too little of the finest detail. Figures are in docs/notebook/pictures.md.
    """

    def __init__(self, nearest: float = 1.0) -> None:
        super().__init__()
        self.nearest = nearest

    @property
    def looks(self) -> int:
        """How far a cell looks beyond the one that it comes from, in cells of the result."""
        return int(self.nearest < 1)

    def forward(self, x_BChw: Tensor) -> Tensor:
        if self.nearest == 1:
            return F.interpolate(x_BChw, scale_factor=2.0)
        bilinear_BChw = F.interpolate(x_BChw, scale_factor=2.0, mode="bilinear", align_corners=False)
        if not self.nearest:
            return bilinear_BChw
        return self.nearest * F.interpolate(x_BChw, scale_factor=2.0) + (1 - self.nearest) * bilinear_BChw


NEAREST = 2 / 3
"""The share of nearest neighbours where cells become pixels, of a decoder that does not sharpen."""


class Sharpen(nn.Module):
    """An unsharp mask: adds `amount` of what a binomial filter of 3x3 px leaves out; the outermost pixels repeat."""

    def __init__(self, amount: float) -> None:
        super().__init__()
        self.amount = amount

    def forward(self, image_B3HW: Tensor) -> Tensor:
        if not self.amount:
            return image_B3HW
        padded_B3PQ = F.pad(image_B3HW, (1, 1, 1, 1), mode="replicate")
        upright_B3HQ = (padded_B3PQ[..., :-2, :] + 2 * padded_B3PQ[..., 1:-1, :] + padded_B3PQ[..., 2:, :]) / 4
        blurred_B3HW = (upright_B3HQ[..., :-2] + 2 * upright_B3HQ[..., 1:-1] + upright_B3HQ[..., 2:]) / 4
        return image_B3HW + self.amount * (image_B3HW - blurred_B3HW)


def _silent(conv: nn.Conv2d) -> nn.Conv2d:
    """Zeros at first."""
    assert conv.bias is not None
    nn.init.zeros_(conv.weight)
    nn.init.zeros_(conv.bias)
    return conv
