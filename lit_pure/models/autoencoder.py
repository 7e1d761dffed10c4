"""The convolutional autoencoder that the visual tokenizers share: residual blocks, level by level, and their mirror.

Knows pictures and features; the sizes are arguments. Knows no codes. It is LlamaGen's (arXiv 2406.06525) with
attention at the deepest level, and FLUX's, which Infinity's tokenizers have (arXiv 2412.04431), without. `stem > 1`
first folds blocks of pixels into channels, because convolutions at full resolution make a small tokenizer slow.

Shape legend: B batch, H W picture [px], h w features of one level, C channels, Z channels of the deepest features,
f = stem * 2 ** (levels - 1).
"""

from collections.abc import Sequence
from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn


def group_norm(channels: int) -> nn.GroupNorm:
    """32 groups, as published; 24 for channels that 24 divides and 32 does not."""
    return nn.GroupNorm(24 if channels % 32 and not channels % 24 else 32, channels, eps=1e-6)


class ResBlock(nn.Module):
    """GroupNorm, swish and 3x3 convolution, twice, with a shortcut."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.norm1 = group_norm(channels_in)
        self.conv1 = nn.Conv2d(channels_in, channels_out, 3, padding=1)
        self.norm2 = group_norm(channels_out)
        self.conv2 = nn.Conv2d(channels_out, channels_out, 3, padding=1)
        same = channels_in == channels_out
        self.shortcut = nn.Identity() if same else nn.Conv2d(channels_in, channels_out, 1)

    def forward(self, x_BChw: Tensor) -> Tensor:
        y_BChw = self.conv1(F.silu(self.norm1(x_BChw)))
        y_BChw = self.conv2(F.silu(self.norm2(y_BChw)))
        return self.shortcut(x_BChw) + y_BChw


class AttentionBlock(nn.Module):
    """Single-head self-attention over all cells."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = group_norm(channels)
        self.q, self.k, self.v, self.out = (nn.Conv2d(channels, channels, 1) for _ in range(4))

    def forward(self, x_BChw: Tensor) -> Tensor:
        y_BChw = self.norm(x_BChw)
        q, k, v = (f(y_BChw).flatten(2).transpose(1, 2).unsqueeze(1) for f in (self.q, self.k, self.v))
        mixed_BnC = F.scaled_dot_product_attention(q, k, v).squeeze(1)
        return x_BChw + self.out(mixed_BnC.transpose(1, 2).reshape_as(x_BChw))


class Downsample(nn.Module):
    """Strided convolution; pads right and bottom only, as LlamaGen does."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, stride=2)

    def forward(self, x_BChw: Tensor) -> Tensor:
        return self.conv(F.pad(x_BChw, (0, 1, 0, 1)))


class Upsample(nn.Module):
    """Nearest x2, then a convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x_BChw: Tensor) -> Tensor:
        return self.conv(F.interpolate(x_BChw, scale_factor=2.0, mode="nearest"))


def _level(channels_in: int, channels_out: int, blocks: int, attention: bool) -> list[nn.Module]:
    """Residual blocks of one resolution, each followed by attention if asked."""
    layers: list[nn.Module] = []
    for index in range(blocks):
        layers.append(ResBlock(channels_in if index == 0 else channels_out, channels_out))
        if attention:
            layers.append(AttentionBlock(channels_out))
    return layers


def _middle(channels: int, attention: bool) -> list[nn.Module]:
    between: list[nn.Module] = [AttentionBlock(channels)] if attention else []
    return [ResBlock(channels, channels), *between, ResBlock(channels, channels)]


def _finish(channels_in: int, channels_out: int) -> list[nn.Module]:
    return [
        group_norm(channels_in),
        nn.SiLU(),
        nn.Conv2d(channels_in, channels_out, 3, padding=1),
    ]


def make_encoder(
    stem: int, first: int, channels: Sequence[int], res_blocks: int, z_channels: int, attention: bool = False
) -> nn.Sequential:
    """(B, 3, H, W) in [-1, 1] -> (B, Z, H/f, W/f).

    Args:
        stem: side of the pixel block folded into channels [px]; 1: none.
        first: channels of the first convolution.
        channels: per level; each level after the first halves the resolution.
        res_blocks: residual blocks per level.
        z_channels: Z.
        attention: at the deepest level.
    """
    layers: list[nn.Module] = [nn.PixelUnshuffle(stem), nn.Conv2d(3 * stem**2, first, 3, padding=1)]
    for index, (before, width) in enumerate(pairwise([first, *channels])):
        deepest = index == len(channels) - 1
        layers += _level(before, width, res_blocks, attention and deepest)
        if not deepest:
            layers.append(Downsample(width))
    return nn.Sequential(*layers, *_middle(channels[-1], attention), *_finish(channels[-1], z_channels))


def make_decoder(
    stem: int, channels: Sequence[int], res_blocks: int, z_channels: int, attention: bool = False
) -> nn.Sequential:
    """(B, Z, h, w) -> (B, 3, h f, w f), about [-1, 1]; arguments as for the encoder, whose mirror it is."""
    mirrored = channels[::-1]
    layers: list[nn.Module] = [nn.Conv2d(z_channels, mirrored[0], 3, padding=1), *_middle(mirrored[0], attention)]
    for index, (before, width) in enumerate(pairwise([mirrored[0], *mirrored])):
        layers += _level(before, width, res_blocks, attention and index == 0)
        if index < len(mirrored) - 1:
            layers.append(Upsample(width))
    return nn.Sequential(*layers, *_finish(mirrored[-1], 3 * stem**2), nn.PixelShuffle(stem))
