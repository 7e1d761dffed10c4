"""What a next-scale transformer makes of captions: one vector, and the tokens that its blocks attend to.

Knows encoded captions and the learned caption that stands for none. Knows no text encoder. The design is Infinity's
(arXiv 2412.04431).

Shape legend: B pictures, N tokens of all captions, T tokens of the longest one, W channels of the text encoder, D
width, H heads, d head channels.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lit_pure.config.next_scale import NextScaleConfig
from lit_pure.models.packed_text import PackedText, pad


class Caption(NamedTuple):
    """The captions of a batch, ready for the blocks."""

    vector_BD: Tensor
    tokens_BTD: Tensor
    mask_B11T: Tensor | None
    """True where there is no padding; None where there is none at all."""


class AttentivePooling(nn.Module):
    """One vector from all tokens of a caption, by attention with a learned query; keys have no bias."""

    def __init__(self, config: NextScaleConfig) -> None:
        super().__init__()
        self.query_Hd = nn.Parameter(torch.zeros(config.pool_heads, config.width // config.pool_heads))
        self.kv = nn.Linear(config.text_width, 2 * config.width, bias=False)
        self.v_bias = nn.Parameter(torch.zeros(config.width))
        self.out = nn.Linear(config.width, config.width)

    def forward(self, packed_NW: Tensor, lengths: Sequence[int]) -> Tensor:
        """Vectors (B, D)."""
        padded, mask_B11T = pad(self.kv(packed_NW), lengths)
        k, v = padded.chunk(2, dim=-1)
        heads = len(self.query_Hd)
        k, v = (part.unflatten(-1, (heads, -1)).transpose(1, 2) for part in (k, v + self.v_bias))
        q = self.query_Hd[None, :, None].to(k.dtype).expand(len(lengths), -1, -1, -1)
        pooled_BH1d = F.scaled_dot_product_attention(q, k, v.to(k.dtype), attn_mask=mask_B11T)
        return self.out(pooled_BH1d.flatten(1))


class CaptionReader(nn.Module):
    """Normalises, pools and projects the captions; dropped ones are replaced by learned rows."""

    def __init__(self, config: NextScaleConfig) -> None:
        super().__init__()
        self.empty_TW = nn.Parameter(torch.zeros(config.text_length, config.text_width))
        self.norm = nn.RMSNorm(config.text_width, eps=config.norm_eps)
        self.pool = AttentivePooling(config)
        self.project = nn.Sequential(
            nn.Linear(config.text_width, config.width),
            nn.GELU(approximate="tanh"),
            nn.Linear(config.width, config.width),
        )

    def forward(self, text: PackedText, dropped: Sequence[bool] = ()) -> Caption:
        """The captions of a batch.

        Args:
            text: encoded captions.
            dropped: for each caption, whether as many learned rows stand in its place (classifier-free guidance);
                empty: none is dropped, as in validation.

        Raises:
            ValueError: a caption is longer than `config.text_length`.
        """
        longest = max(text.lengths)
        if longest > len(self.empty_TW):
            raise ValueError(f"a caption of {longest} tokens is too long; cut captions to {len(self.empty_TW)} tokens")
        tokens_NW = text.tokens_NW.to(self.empty_TW.dtype)
        if any(dropped):
            pairs = zip(tokens_NW.split(list(text.lengths)), dropped, strict=True)
            tokens_NW = torch.cat([self.empty_TW[: len(part)] if drop else part for part, drop in pairs])
        elif torch.is_grad_enabled():
            tokens_NW = tokens_NW + 0 * self.empty_TW.sum()  # several processes wait for each gradient, in every step
        tokens_NW = self.norm(tokens_NW)
        tokens_BTD, mask_B11T = pad(self.project(tokens_NW), text.lengths)
        return Caption(self.pool(tokens_NW, text.lengths), tokens_BTD, mask_B11T)
