"""The bitwise multi-scale tokenizer: pictures <-> features <-> bits of every scale (Infinity, arXiv 2412.04431).

Knows pictures `(B, 3, H, W)` in [0, 1], features and bits. The networks' own range [-1, 1] stays inside. Knows nothing
of transformers, losses' weights or text. The layers are `autoencoder.py`'s, the bits `bsq.py`'s.

Shape legend: B batch, H W picture [px], D bits of a latent cell, h w the last grid of cells, K scales.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lit_pure.config.bit_tokenizer import BitTokenizerConfig
from lit_pure.models import bsq
from lit_pure.models.autoencoder import make_decoder, make_encoder
from lit_pure.models.scales import Grid, fitting_grids, latent_grids


@dataclass(frozen=True)
class Quantized:
    """Features of a batch and what was left of them."""

    features_BDhw: Tensor
    """Of the encoder, with their gradient."""
    sum_BDhw: Tensor
    """The sum of codes, which passes its gradient straight through to the features."""
    commit_loss: Tensor
    """Mean squared distance of the features from the sum, which stays where it is; without weight."""


class BitTokenizer(nn.Module):
    """Encodes pictures as bits of several scales and decodes them; it has no codebook."""

    def __init__(self, config: BitTokenizerConfig) -> None:
        super().__init__()
        self.config = config
        stem, channels, blocks = config.stem, config.channels, config.res_blocks
        self.encoder = make_encoder(stem, config.width, channels, blocks, config.bits)
        self.decoder = make_decoder(stem, channels, blocks + 1, config.bits)

    @property
    def downsample(self) -> int:
        """Pixels per latent cell along a side."""
        return self.config.downsample

    def grids(self, height: int, width: int) -> list[Grid]:
        """A schedule for a picture of any size that tokens divide [px], as grids of tokens.

        That of the config where the picture is one of its squares; published ratios have a `scales.Template`.
        Raises ValueError where tokens do not divide a side.
        """
        return fitting_grids(self.config.sides, self._last(height, width))

    def latents(self, image_B3HW: Tensor) -> Tensor:
        """(B, 3, H, W) in [0, 1] -> features (B, D, h, w), with gradient.

        Raises ValueError where tokens do not divide a side.
        """
        self._last(*image_B3HW.shape[-2:])
        features_BDhw: Tensor = self.encoder(image_B3HW * 2 - 1)
        return features_BDhw

    @torch.no_grad()
    def encode(self, image_B3HW: Tensor) -> Tensor:
        """(B, 3, H, W) in [0, 1] -> features (B, D, h, w), without gradient; in float32 even under autocast.

        Raises ValueError where tokens do not divide a side.
        """
        with torch.autocast(image_B3HW.device.type, enabled=False):
            return self.latents(image_B3HW.to(self._dtype))

    @torch.no_grad()
    def bits(self, features_BDhw: Tensor, grids: Sequence[Grid]) -> list[Tensor]:
        """Features -> bits (bool) of each scale, on its grid of latent cells; `grids` are those of tokens.

        Raises ValueError where the last grid is not that of the features.
        """
        return bsq.encode_scales(features_BDhw, self.cells(grids)).bits_BDhw

    @torch.no_grad()
    def decode(self, features_BDhw: Tensor) -> Tensor:
        """Features, or a sum of codes -> (B, 3, H, W) in [0, 1]; in float32 even under autocast."""
        with torch.autocast(features_BDhw.device.type, enabled=False):
            return self.render(features_BDhw.to(self._dtype)).clamp(0, 1)

    def decode_bits(self, bits_BDhw: Sequence[Tensor], last: Grid) -> Tensor:
        """Bits of the first scales, or of all -> (B, 3, H, W) in [0, 1]; `last` is the picture's grid of tokens."""
        return self.decode(bsq.decode_scales(bits_BDhw, self.cells([last])[0]))

    def render(self, features_BDhw: Tensor) -> Tensor:
        """Features, or a sum of codes -> (B, 3, H, W), about [0, 1], not clamped, with gradient."""
        pixels_B3HW: Tensor = self.decoder(features_BDhw)
        return (pixels_B3HW + 1) / 2

    def quantize(self, image_B3HW: Tensor, grids: Sequence[Grid], kept_BK: Tensor | None = None) -> Quantized:
        """What training needs besides pixels.

        Args:
            image_B3HW: in [0, 1].
            grids: of tokens.
            kept_BK: False where a scale is left out of a picture (`bsq.draw_kept`).

        Raises:
            ValueError: tokens do not divide a side, or the last grid is another one than the picture's.
        """
        features_BDhw = self.latents(image_B3HW)
        # As published: a code does not answer for those of later scales.
        found = bsq.encode_scales(features_BDhw, self.cells(grids), kept_BK=kept_BK, detach_sums=True)
        sum_BDhw = found.sums_BDHW[-1]
        return Quantized(features_BDhw, sum_BDhw, (features_BDhw - sum_BDhw.detach()).square().mean())

    def forward(
        self, image_B3HW: Tensor, grids: Sequence[Grid], kept_BK: Tensor | None = None
    ) -> tuple[Tensor, Quantized]:
        """Reconstruction (B, 3, H, W), not clamped, and what the commitment loss needs; arguments as for `quantize`."""
        found = self.quantize(image_B3HW, grids, kept_BK)
        return self.render(found.sum_BDhw), found

    def start_from(self, other: "BitTokenizer") -> None:
        """Take another tokenizer's weights. Raises ValueError where it has other sizes."""
        own, theirs = self.state_dict(), other.state_dict()
        differing = own.keys() ^ theirs.keys() | {n for n in own.keys() & theirs if own[n].shape != theirs[n].shape}
        if differing:
            raise ValueError(f"needs.start has another {min(differing)}; take its bsq sizes, or another start")
        self.load_state_dict(theirs)

    def cells(self, grids: Sequence[Grid]) -> list[Grid]:
        """Grids of tokens -> those of latent cells."""
        return latent_grids(grids, self.config.patch)

    def _last(self, height: int, width: int) -> Grid:
        pixels = self.config.token_pixels
        if height % pixels or width % pixels or not height or not width:
            raise ValueError(f"a picture of {height}x{width} px cannot be cut into tokens of {pixels} px; pad it")
        return height // pixels, width // pixels

    @property
    def _dtype(self) -> torch.dtype:
        return next(self.parameters()).dtype
