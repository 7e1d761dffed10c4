"""The visual tokenizer: LlamaGen's VQ model (arXiv 2406.06525), every size in the config.

Knows pictures and codes: `(B, 3, H, W)` in [0, 1] <-> `(B, h, w)` integers. The network's own range [-1, 1] stays
inside. Knows nothing of ids or sequences. The default config is LlamaGen's VQ-8. The layers are `autoencoder.py`'s; a
decoder that sees the photograph is `photo_decoder.py`'s.

Shape legend: B batch, H W picture [px], h w grid of codes, D code length, N codes, C channels.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lit_pure.config.tokenizer import VQConfig
from lit_pure.models.autoencoder import make_decoder, make_encoder
from lit_pure.models.photo_decoder import PhotoDecoder


def _make_encoder(config: VQConfig) -> nn.Sequential:
    return make_encoder(
        config.stem, config.channels[0], config.channels, config.res_blocks, config.z_channels, config.attention
    )


def _make_decoder(config: VQConfig) -> nn.Module:
    if config.decoder.channels:
        return PhotoDecoder(config.z_channels, config.downsample, config.decoder)
    return make_decoder(config.stem, config.channels, config.res_blocks + 1, config.z_channels, config.attention)


class VQTokenizer(nn.Module):
    """Encodes pictures as codes and decodes them, with an L2-normalised codebook."""

    def __init__(self, config: VQConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder, self.decoder = _make_encoder(config), _make_decoder(config)
        self.to_code = nn.Conv2d(config.z_channels, config.code_dim, 1)
        self.from_code = nn.Conv2d(config.code_dim, config.z_channels, 1)
        self.codebook_ND = nn.Parameter(torch.randn(config.codes, config.code_dim))

    @property
    def downsample(self) -> int:
        """Pixels per code along a side."""
        return self.config.downsample

    @property
    def sees_photo(self) -> bool:
        """Whether the decoder can take anything from the enlarged LQ picture."""
        return bool(self.config.decoder.photo_channels)

    @property
    def context(self) -> int | None:
        """Cells around a part of a picture that suffice to decode it as in the whole; None: the whole has a say."""
        return self.decoder.context if isinstance(self.decoder, PhotoDecoder) else None

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
    def decode(self, codes_Bhw: Tensor, photo_B3HW: Tensor | None = None, fidelity: float = 0.0) -> Tensor:
        """Codes (B, h, w) -> (B, 3, H, W) in [0, 1]; in float32 even under autocast.

        Args:
            codes_Bhw: integers below `config.codes`.
            photo_B3HW: the enlarged LQ picture, in [0, 1], of the size of the result.
            fidelity: how much the decoder takes from it, in [0, 1]; with 0 it is not looked at.

        Raises:
            ValueError: `fidelity` is above 0, and there is no photograph, or this decoder sees none.
        """
        weighed_B = None
        if fidelity:
            if photo_B3HW is None or not self.sees_photo:
                raise ValueError(
                    f"fidelity {fidelity} needs a decoder that sees the photograph; this one takes codes alone"
                )
            weighed_B = torch.full((len(codes_Bhw),), fidelity, device=codes_Bhw.device)
        with torch.autocast(codes_Bhw.device.type, enabled=False):
            return self.render(self.lookup(codes_Bhw), photo_B3HW if fidelity else None, weighed_B).clamp(0, 1)

    def lookup(self, codes_Bhw: Tensor) -> Tensor:
        """Codes -> unit vectors (B, h, w, D)."""
        return F.normalize(self.codebook_ND, dim=-1)[codes_Bhw]

    def render(
        self, latents_BhwD: Tensor, photo_B3HW: Tensor | None = None, fidelity_B: Tensor | None = None
    ) -> Tensor:
        """Unit vectors (B, h, w, D) -> (B, 3, H, W), about [0, 1], not clamped; `fidelity_B` weighs the photographs."""
        z_BChw = self.from_code(latents_BhwD.movedim(-1, 1))
        if photo_B3HW is None:
            pixels_B3HW: Tensor = self.decoder(z_BChw)
        else:
            pixels_B3HW = self.decoder(z_BChw, photo_B3HW * 2 - 1, fidelity_B)
        return (pixels_B3HW + 1) / 2

    def quantize(self, image_B3HW: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Code vectors (B, h, w, D), codes (B, h, w), codebook loss and commitment loss (both without weight).

        The vectors pass their gradient straight through to the encoder; a frozen encoder gets none.
        """
        latents_BhwD = self.latents(image_B3HW)
        codes_Bhw = self.nearest(latents_BhwD)
        chosen_BhwD = self.lookup(codes_Bhw)
        codebook_loss = F.mse_loss(chosen_BhwD, latents_BhwD.detach())
        commit_loss = F.mse_loss(latents_BhwD, chosen_BhwD.detach())
        # Straight-through: forward uses the code, backward passes the gradient to the encoder.
        return latents_BhwD + (chosen_BhwD - latents_BhwD).detach(), codes_Bhw, codebook_loss, commit_loss

    def forward(self, image_B3HW: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Reconstruction (B, 3, H, W), codes (B, h, w), codebook loss and commitment loss (both without weight)."""
        straight_BhwD, codes_Bhw, codebook_loss, commit_loss = self.quantize(image_B3HW)
        return self.render(straight_BhwD), codes_Bhw, codebook_loss, commit_loss

    def start_from(self, other: "VQTokenizer", keep_codes: bool) -> None:
        """Take another tokenizer's weights, of the decoder those that fit; `keep_codes` freezes what makes codes.

        Raises ValueError where the other one makes its codes with other sizes.
        """
        own, theirs = self.state_dict(), other.state_dict()
        fitting = {name: item for name, item in theirs.items() if name in own and own[name].shape == item.shape}
        lacking = [name for name in own if not name.startswith("decoder.") and name not in fitting]
        if lacking:
            raise ValueError(f"needs.start has another {lacking[0]}; take its vq sizes, or another start")
        self.load_state_dict(fitting, strict=False)
        if keep_codes:
            for name, item in self.named_parameters():
                item.requires_grad_(name.startswith(("decoder.", "from_code.")))

    @torch.no_grad()
    def restart(self, unused_N: Tensor, latents_MD: Tensor, generator: torch.Generator) -> int:
        """Move unused codes (True in `unused_N`) to random encoder outputs; returns their number."""
        where = unused_N.nonzero().flatten()
        picks = torch.randint(len(latents_MD), (len(where),), generator=generator)
        self.codebook_ND[where] = latents_MD[picks.to(latents_MD.device)]
        return len(where)
