"""The parts of a decoder-only transformer: rotary positions, attention, gated feed-forward.

Knows tensors and positions. Knows nothing of tokens, losses or sampling, how a cache stores keys and values, or which
kernel computes attention. The design is Chameleon's (arXiv 2405.09818): RMSNorm before each part, LayerNorm on queries
and keys per head before the rotation, SwiGLU, no biases in projections.

Shape legend: B rows, T positions, H heads, d head channels, D width.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lit_pure.config.pure import BackboneConfig
from lit_pure.models.attention import SDPA, AttentionBackend

Mix = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Attention proper: q, k, v (B, T, H, d) of new positions -> mixed values (B, T, H, d)."""
Angles = tuple[Tensor, Tensor]
"""Cosines and sines (B, T, 1, d) of positions."""


def rotary(positions_BT: Tensor, head_channels: int, theta: float) -> Angles:
    """Cosines and sines (B, T, 1, d) of the half-rotation layout (arXiv 2104.09864), in float32."""
    exponents = torch.arange(0, head_channels, 2, device=positions_BT.device, dtype=torch.float32) / head_channels
    angles = positions_BT[..., None].float() * theta**-exponents
    angles = torch.cat([angles, angles], dim=-1)[:, :, None]
    return angles.cos(), angles.sin()


def rotate(x_BTHd: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotate each pair of channels (i, i + d/2) by the angle of its position; more leading dimensions are allowed."""
    left, right = x_BTHd.chunk(2, dim=-1)
    return (x_BTHd * cos + torch.cat([-right, left], dim=-1) * sin).to(x_BTHd.dtype)


class Attention(nn.Module):
    """Causal self-attention; q and k are normalised per head, and all heads share the weights of the norm."""

    def __init__(self, config: BackboneConfig) -> None:
        super().__init__()
        self.heads = config.heads
        self.q, self.k, self.v, self.out = (nn.Linear(config.width, config.width, bias=False) for _ in range(4))
        self.q_norm, self.k_norm = (nn.LayerNorm(config.width // config.heads, eps=config.norm_eps) for _ in range(2))

    def forward(self, x_BTD: Tensor, angles: Angles, mix: Mix) -> Tensor:
        """`mix` decides what each position sees."""
        q, k, v = (f(x_BTD).unflatten(-1, (self.heads, -1)) for f in (self.q, self.k, self.v))
        q, k = rotate(torch.stack([self.q_norm(q), self.k_norm(k)]), *angles)
        return self.out(mix(q, k, v).flatten(2))


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
        self.backend: AttentionBackend = SDPA
        """Computes causal attention."""
        self.train_forward: TrainForward = Block.compute
        """Runs `compute` where gradients are needed; training may replace it by a compiled or checkpointed version."""

    def forward(self, x_BTD: Tensor, angles: Angles, mix: Mix | None = None) -> Tensor:
        """`mix` decides what each position sees; without it, attention is causal."""
        if mix is None and torch.is_grad_enabled():
            return self.train_forward(self, x_BTD, angles)
        return self.compute(x_BTD, angles, mix)

    def compute(self, x_BTD: Tensor, angles: Angles, mix: Mix | None = None) -> Tensor:
        """The block's computation."""
        mixed = self.attention(self.attention_norm(x_BTD), angles, mix or self.backend.attend_causally)
        x_BTD = x_BTD + F.dropout(mixed, self.dropout, self.training)
        return x_BTD + F.dropout(self.ffn(self.ffn_norm(x_BTD)), self.dropout, self.training)


TrainForward = Callable[[Block, Tensor, Angles], Tensor]
"""A block's causal pass: block, x (B, T, D), angles -> (B, T, D)."""
