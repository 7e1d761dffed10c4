"""The parts of a decoder-only transformer: rotary positions, attention with a cache, gated feed-forward.

Knows tensors and positions. Knows nothing of tokens, losses or sampling. Design as Chameleon's (arXiv 2405.09818):
RMSNorm before each part, LayerNorm on queries and keys per head before the rotation, SwiGLU, no biases in projections.

Shape legend: B rows, T new positions, S cached positions, H heads, d head channels, D width.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lit_pure.config.models import BackboneConfig


@dataclass
class KVCache:
    """Keys and values of all layers; each row has its own length.

    `upper` is a length that no row exceeds, known without asking the device.
    """

    keys: list[Tensor]
    values: list[Tensor]
    length_B: Tensor
    upper: int = 0

    @classmethod
    def empty(cls, config: BackboneConfig, rows: int, capacity: int, like: Tensor) -> "KVCache":
        """Room for `capacity` positions in each of `rows` rows, in the dtype and on the device of `like`."""
        shape = (rows, capacity, config.heads, config.width // config.heads)
        keys, values = ([like.new_zeros(shape) for _ in range(config.layers)] for _ in range(2))
        return cls(keys, values, torch.zeros(rows, dtype=torch.long, device=like.device))

    def first(self, rows: int) -> "KVCache":
        """The first rows, sharing storage."""
        keys, values = ([layer[:rows] for layer in layers] for layers in (self.keys, self.values))
        return KVCache(keys, values, self.length_B[:rows], self.upper)

    def store(self, layer: int, k_BTHd: Tensor, v_BTHd: Tensor, positions_BT: Tensor) -> tuple[Tensor, Tensor]:
        """Write new keys and values at their positions; returns all that any row has so far (B, S, H, d)."""
        rows = torch.arange(len(positions_BT), device=positions_BT.device)[:, None]
        # Under autocast, norms give float32 and projections bfloat16; the cache has the weights' dtype.
        self.keys[layer][rows, positions_BT] = k_BTHd.to(self.keys[layer].dtype)
        self.values[layer][rows, positions_BT] = v_BTHd.to(self.values[layer].dtype)
        return self.keys[layer][:, : self.upper], self.values[layer][:, : self.upper]


def rotary(positions_BT: Tensor, head_channels: int, theta: float) -> tuple[Tensor, Tensor]:
    """Cosines and sines (B, T, 1, d) of the half-rotation layout (arXiv 2104.09864), in float32."""
    exponents = torch.arange(0, head_channels, 2, device=positions_BT.device, dtype=torch.float32) / head_channels
    angles = positions_BT[..., None].float() * theta**-exponents
    angles = torch.cat([angles, angles], dim=-1)[:, :, None]
    return angles.cos(), angles.sin()


def rotate(x_BTHd: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn each pair of channels (i, i + d/2) by its position's angle."""
    left, right = x_BTHd.chunk(2, dim=-1)
    return (x_BTHd * cos + torch.cat([-right, left], dim=-1) * sin).to(x_BTHd.dtype)


class Attention(nn.Module):
    """Causal self-attention; q and k are normalised per head with weights that all heads share."""

    def __init__(self, config: BackboneConfig) -> None:
        super().__init__()
        self.heads = config.heads
        self.q, self.k, self.v, self.out = (nn.Linear(config.width, config.width, bias=False) for _ in range(4))
        self.q_norm, self.k_norm = (nn.LayerNorm(config.width // config.heads, eps=config.norm_eps) for _ in range(2))

    def forward(
        self,
        x_BTD: Tensor,
        angles: tuple[Tensor, Tensor],
        mask_B1TS: Tensor | None,
        cache: tuple[KVCache, int, Tensor] | None,
    ) -> Tensor:
        """`cache` is (cache, this layer's number, positions (B, T)); without it attention is causal within T."""
        q, k, v = (f(x_BTD).unflatten(-1, (self.heads, -1)) for f in (self.q, self.k, self.v))
        q, k = rotate(self.q_norm(q), *angles), rotate(self.k_norm(k), *angles)
        if cache is not None:
            store, layer, positions_BT = cache
            k, v = store.store(layer, k, v, positions_BT)
        q, k, v = (part.transpose(1, 2) for part in (q, k, v))
        mixed_BHTd = F.scaled_dot_product_attention(q, k, v, attn_mask=mask_B1TS, is_causal=mask_B1TS is None)
        return self.out(mixed_BHTd.transpose(1, 2).flatten(2))


class FeedForward(nn.Module):
    """SwiGLU: down(silu(gate(x)) * up(x))."""

    def __init__(self, config: BackboneConfig) -> None:
        super().__init__()
        self.gate, self.up = (nn.Linear(config.width, config.ffn, bias=False) for _ in range(2))
        self.down = nn.Linear(config.ffn, config.width, bias=False)

    def forward(self, x_BTD: Tensor) -> Tensor:
        return self.down(F.silu(self.gate(x_BTD)) * self.up(x_BTD))


class Block(nn.Module):
    """Attention and feed-forward, each behind RMSNorm and residual dropout."""

    def __init__(self, config: BackboneConfig) -> None:
        super().__init__()
        self.attention_norm, self.ffn_norm = (nn.RMSNorm(config.width, eps=config.norm_eps) for _ in range(2))
        self.attention, self.ffn = Attention(config), FeedForward(config)
        self.dropout = config.dropout

    def forward(
        self,
        x_BTD: Tensor,
        angles: tuple[Tensor, Tensor],
        mask_B1TS: Tensor | None = None,
        cache: tuple[KVCache, int, Tensor] | None = None,
    ) -> Tensor:
        mixed = self.attention(self.attention_norm(x_BTD), angles, mask_B1TS, cache)
        x_BTD = x_BTD + F.dropout(mixed, self.dropout, self.training)
        return x_BTD + F.dropout(self.ffn(self.ffn_norm(x_BTD)), self.dropout, self.training)
