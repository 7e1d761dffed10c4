"""The visual tokenizer: LlamaGen's VQ model (arXiv 2406.06525), every size in the config.

Knows pictures and codes: `(B, 3, H, W)` in [0, 1] <-> `(B, h, w)` integers. The network's own range [-1, 1] stays
inside. Knows nothing of ids or sequences. The default config is LlamaGen's VQ-8. `stem > 1` first folds blocks of
pixels into channels, because convolutions at full resolution make a small tokenizer slow.

Shape legend: B batch, H W picture [px], h w grid of codes, D code length, N codes, C channels.
"""

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lit_pure.config.tokenizer import VQConfig


class ResBlock(nn.Module):
    """GroupNorm, swish and 3x3 convolution, twice, with a shortcut."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(32, channels_in, eps=1e-6)
        self.conv1 = nn.Conv2d(channels_in, channels_out, 3, padding=1)
        self.norm2 = nn.GroupNorm(32, channels_out, eps=1e-6)
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
        self.norm = nn.GroupNorm(32, channels, eps=1e-6)
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
        nn.GroupNorm(32, channels_in, eps=1e-6),
        nn.SiLU(),
        nn.Conv2d(channels_in, channels_out, 3, padding=1),
    ]


def make_encoder(config: VQConfig) -> nn.Sequential:
    """(B, 3, H, W) in [-1, 1] -> (B, z_channels, H/f, W/f)."""
    channels = config.channels
    layers: list[nn.Module] = [nn.PixelUnshuffle(config.stem)]
    layers.append(nn.Conv2d(3 * config.stem**2, channels[0], 3, padding=1))
    for index, (before, width) in enumerate(pairwise([channels[0], *channels])):
        deepest = index == len(channels) - 1
        layers += _level(before, width, config.res_blocks, config.attention and deepest)
        if not deepest:
            layers.append(Downsample(width))
    layers += [*_middle(channels[-1], config.attention), *_finish(channels[-1], config.z_channels)]
    return nn.Sequential(*layers)


def make_decoder(config: VQConfig) -> nn.Sequential:
    """(B, z_channels, h, w) -> (B, 3, h f, w f), about [-1, 1]."""
    channels = config.channels[::-1]
    layers: list[nn.Module] = [nn.Conv2d(config.z_channels, channels[0], 3, padding=1)]
    layers += _middle(channels[0], config.attention)
    for index, (before, width) in enumerate(pairwise([channels[0], *channels])):
        layers += _level(before, width, config.res_blocks + 1, config.attention and index == 0)
        if index < len(channels) - 1:
            layers.append(Upsample(width))
    layers += [*_finish(channels[-1], 3 * config.stem**2), nn.PixelShuffle(config.stem)]
    return nn.Sequential(*layers)


class VQTokenizer(nn.Module):
    """Encodes pictures as codes and decodes them, with an L2-normalised codebook."""

    def __init__(self, config: VQConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder, self.decoder = make_encoder(config), make_decoder(config)
        self.to_code = nn.Conv2d(config.z_channels, config.code_dim, 1)
        self.from_code = nn.Conv2d(config.code_dim, config.z_channels, 1)
        self.codebook_ND = nn.Parameter(torch.randn(config.codes, config.code_dim))

    @property
    def downsample(self) -> int:
        """Pixels per code along a side."""
        return self.config.downsample

    @property
    def context(self) -> int | None:
        """How many cells around a part its decoded pixels depend on; None: on all, since norms look at the whole."""
        return None

    def latents(self, image_B3HW: Tensor) -> Tensor:
        """(B, 3, H, W) in [0, 1] -> unit vectors (B, h, w, D). Raises ValueError where f does not divide a side."""
        height, width = image_B3HW.shape[-2:]
        if height % self.downsample or width % self.downsample:
            raise ValueError(
                f"a picture of {height}x{width} px cannot be cut into codes of {self.downsample} px; pad it"
            )
        z_BDhw = self.to_code(self.encoder(image_B3HW * 2 - 1))
        # Not in the dtype of autocast: bfloat16 cannot distinguish neighbouring codes.
        return F.normalize(z_BDhw.movedim(1, -1).to(self.codebook_ND.dtype), dim=-1)

    def nearest(self, latents_BhwD: Tensor) -> Tensor:
        """The code of the nearest entry, which on the unit sphere has the largest cosine."""
        with torch.autocast(latents_BhwD.device.type, enabled=False):
            return (latents_BhwD @ F.normalize(self.codebook_ND, dim=-1).T).argmax(-1)

    @torch.no_grad()
    def encode(self, image_B3HW: Tensor) -> Tensor:
        """(B, 3, H, W) in [0, 1] -> codes (B, h, w), integers below `config.codes`; in float32 even under autocast."""
        with torch.autocast(image_B3HW.device.type, enabled=False):
            return self.nearest(self.latents(image_B3HW.to(self.codebook_ND.dtype)))

    @torch.no_grad()
    def decode(self, codes_Bhw: Tensor) -> Tensor:
        """Codes (B, h, w) -> (B, 3, H, W) in [0, 1]; in float32 even under autocast."""
        with torch.autocast(codes_Bhw.device.type, enabled=False):
            return self.render(self.lookup(codes_Bhw)).clamp(0, 1)

    def lookup(self, codes_Bhw: Tensor) -> Tensor:
        """Codes -> unit vectors (B, h, w, D)."""
        return F.normalize(self.codebook_ND, dim=-1)[codes_Bhw]

    def render(self, latents_BhwD: Tensor) -> Tensor:
        """Unit vectors (B, h, w, D) -> (B, 3, H, W), about [0, 1], not clamped."""
        pixels_B3HW: Tensor = self.decoder(self.from_code(latents_BhwD.movedim(-1, 1)))
        return (pixels_B3HW + 1) / 2

    def forward(self, image_B3HW: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Reconstruction (B, 3, H, W), codes (B, h, w), codebook loss and commitment loss (both without weight)."""
        latents_BhwD = self.latents(image_B3HW)
        codes_Bhw = self.nearest(latents_BhwD)
        chosen_BhwD = self.lookup(codes_Bhw)
        codebook_loss = F.mse_loss(chosen_BhwD, latents_BhwD.detach())
        commit_loss = F.mse_loss(latents_BhwD, chosen_BhwD.detach())
        # Straight-through: forward uses the code, backward passes the gradient to the encoder.
        straight_BhwD = latents_BhwD + (chosen_BhwD - latents_BhwD).detach()
        return self.render(straight_BhwD), codes_Bhw, codebook_loss, commit_loss

    @torch.no_grad()
    def restart(self, unused_N: Tensor, latents_MD: Tensor, generator: torch.Generator) -> int:
        """Move unused codes (True in `unused_N`) to random encoder outputs; returns their number."""
        where = unused_N.nonzero().flatten()
        picks = torch.randint(len(latents_MD), (len(where),), generator=generator)
        self.codebook_ND[where] = latents_MD[picks.to(latents_MD.device)]
        return len(where)
