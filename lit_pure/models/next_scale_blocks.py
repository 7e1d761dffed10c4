"""The parts of a next-scale transformer: cosine attention, attention to the caption, feed-forward, modulated block.

Knows tensors, angles and masks. Knows nothing of scales, of how a cache stores keys and values, or of bits. The design
is Infinity's (arXiv 2412.04431), on which NSARM (arXiv 2510.00820) stands. Modules are called only as torch's, so that
recomputing, compiling and sharding by block need nothing else.

Shape legend: B pictures, L tokens, S tokens that may be seen, T tokens of the longest caption, H heads, d head
channels, D width, F hidden channels.
"""

import math
from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.attention.flex_attention import BlockMask, flex_attention

from lit_pure.config.next_scale import NextScaleConfig
from lit_pure.models.frame_rope import Angles, rotate_pairs

Mix = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Attention proper: q, k, v (B, H, L, d) of new tokens -> mixed values (B, H, L, d)."""
LARGEST_SCALE = 100.0
"""Of the cosines between queries and keys."""


class TextMemory(NamedTuple):
    """What a block sees of the captions."""

    keys_BHTd: Tensor
    values_BHTd: Tensor
    mask_B11T: Tensor | None
    """True where there is no padding; None where there is none at all."""


class Conditions(NamedTuple):
    """What all blocks of one pass share."""

    ada_B6D: Tensor
    """Gates of attention and feed-forward, then scales, then shifts, before the block's own part."""
    angles: Angles
    """Of the tokens (L, d/2)."""
    text_BTD: Tensor
    """Captions after their projection, padded."""
    text_mask_B11T: Tensor | None
    mask: Tensor | BlockMask | None
    """Which tokens each token sees: (L, L), True where it may look, or flex attention's; None: all."""


def attend(q_BHLd: Tensor, k_BHSd: Tensor, v_BHSd: Tensor, mask: Tensor | BlockMask | None) -> Tensor:
    """Attention by cosines: queries carry the scale already. (B, H, L, d)."""
    if isinstance(mask, BlockMask):
        return _flex(q_BHLd.is_cuda)(q_BHLd, k_BHSd, v_BHSd, block_mask=mask, scale=1.0)
    return F.scaled_dot_product_attention(q_BHLd, k_BHSd, v_BHSd, attn_mask=mask, scale=1.0)


@cache
def _flex(compiled: bool) -> Callable[..., Any]:
    """Flex attention holds all scores unless it is compiled; on CPUs it is for tests of short sequences."""
    made: Any = torch.compile(flex_attention, dynamic=False) if compiled else flex_attention
    return cast(Callable[..., Any], made)


def drop_path(x_BLD: Tensor, share: float, training: bool) -> Tensor:
    """In training, zero for this share of the pictures, and larger for the others (arXiv 1603.09382)."""
    if not training or not share:
        return x_BLD
    return x_BLD * F.dropout(x_BLD.new_ones(len(x_BLD), 1, 1), share)


class CosineAttention(nn.Module):
    """Self-attention by cosines with a learned scale per head; keys have no bias, positions turn queries and keys."""

    def __init__(self, config: NextScaleConfig) -> None:
        super().__init__()
        self.heads = config.heads
        self.qkv = nn.Linear(config.width, 3 * config.width, bias=False)
        self.q_bias, self.v_bias = (nn.Parameter(torch.zeros(config.width)) for _ in range(2))
        self.scale_H = nn.Parameter(torch.full((config.heads,), math.log(4)))
        self.out = nn.Linear(config.width, config.width)

    def forward(self, x_BLD: Tensor, angles: Angles, mix: Mix) -> Tensor:
        """`mix` decides what each token sees."""
        qkv = self.qkv(x_BLD)
        q, k, v = qkv.chunk(3, dim=-1)
        q, k, v = (part.unflatten(-1, (self.heads, -1)) for part in (q + self.q_bias, k, v + self.v_bias))
        scale_H1 = self.scale_H.float().clamp(max=math.log(LARGEST_SCALE)).exp()[:, None]
        q = rotate_pairs(F.normalize(q.float(), dim=-1) * scale_H1, angles)
        k = rotate_pairs(F.normalize(k.float(), dim=-1), angles)
        mixed_BHLd = mix(*(part.transpose(1, 2).to(qkv.dtype) for part in (q, k, v)))
        return self.out(mixed_BHLd.transpose(1, 2).flatten(2))


class TextAttention(nn.Module):
    """Attention to the caption's tokens; keys have no bias."""

    def __init__(self, config: NextScaleConfig) -> None:
        super().__init__()
        self.heads = config.heads
        self.q = nn.Linear(config.width, config.width)
        self.kv = nn.Linear(config.width, 2 * config.width, bias=False)
        self.v_bias = nn.Parameter(torch.zeros(config.width))
        self.out = nn.Linear(config.width, config.width)

    def memory(self, text_BTD: Tensor, mask_B11T: Tensor | None) -> TextMemory:
        """Keys and values of the captions."""
        k, v = self.kv(text_BTD).chunk(2, dim=-1)
        keys, values = (part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in (k, v + self.v_bias))
        return TextMemory(keys, values.to(keys.dtype), mask_B11T)

    def forward(self, x_BLD: Tensor, memory: TextMemory) -> Tensor:
        q_BHLd = self.q(x_BLD).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        mixed_BHLd = F.scaled_dot_product_attention(
            q_BHLd, memory.keys_BHTd, memory.values_BHTd, attn_mask=memory.mask_B11T
        )
        return self.out(mixed_BHLd.transpose(1, 2).flatten(2))


class FeedForward(nn.Module):
    """down(gelu(up(x))), with the approximation of GELU by tanh."""

    def __init__(self, config: NextScaleConfig) -> None:
        super().__init__()
        self.up, self.down = nn.Linear(config.width, config.ffn), nn.Linear(config.ffn, config.width)

    def forward(self, x_BLD: Tensor) -> Tensor:
        return self.down(F.gelu(self.up(x_BLD), approximate="tanh"))


class ScaleBlock(nn.Module):
    """Self-attention, attention to the caption, feed-forward; the caption's vector modulates the first and the last."""

    def __init__(self, config: NextScaleConfig, drop_path: float = 0.0) -> None:
        """`drop_path`: share of training pictures whose self-attention, and whose feed-forward, is skipped."""
        super().__init__()
        self.eps, self.drop_path = config.norm_eps, drop_path
        self.ada_6D = nn.Parameter(torch.zeros(6, config.width))
        self.attention, self.text_attention = CosineAttention(config), TextAttention(config)
        self.text_norm = nn.LayerNorm(config.width, eps=config.norm_eps)
        self.ffn = FeedForward(config)
        self.train_forward: TrainForward = ScaleBlock.compute
        """Runs `compute` where gradients are needed; training may replace it by a compiled or checkpointed version."""

    def forward(
        self, x_BLD: Tensor, shared: Conditions, mix: Mix | None = None, memory: TextMemory | None = None
    ) -> Tensor:
        """`mix` and `memory`, of decoding, stand for what `shared` says of masks and captions."""
        if mix is None and torch.is_grad_enabled():
            return self.train_forward(self, x_BLD, shared)
        return self.compute(x_BLD, shared, mix, memory)

    def compute(
        self, x_BLD: Tensor, shared: Conditions, mix: Mix | None = None, memory: TextMemory | None = None
    ) -> Tensor:
        """The block's computation."""
        ada_6B1D = (shared.ada_B6D + self.ada_6D).unsqueeze(2).unbind(1)
        gate_1, gate_2, scale_1, scale_2, shift_1, shift_2 = ada_6B1D
        if mix is None:

            def mix(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
                return attend(q, k, v, shared.mask)

        mixed = self.attention(self._norm(x_BLD) * (1 + scale_1) + shift_1, shared.angles, mix)
        x_BLD = x_BLD + drop_path(gate_1 * mixed, self.drop_path, self.training)
        memory = memory or self.text_attention.memory(shared.text_BTD, shared.text_mask_B11T)
        x_BLD = x_BLD + self.text_attention(self.text_norm(x_BLD), memory)
        fed = self.ffn(self._norm(x_BLD) * (1 + scale_2) + shift_2)
        return x_BLD + drop_path(gate_2 * fed, self.drop_path, self.training)

    def _norm(self, x_BLD: Tensor) -> Tensor:
        return F.layer_norm(x_BLD, x_BLD.shape[-1:], eps=self.eps)


TrainForward = Callable[[ScaleBlock, Tensor, Conditions], Tensor]
"""A block's pass over whole sequences: block, x (B, L, D), what is shared -> (B, L, D)."""
