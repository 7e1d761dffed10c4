"""The next-token backbone on a CPU where few rows pass at a time: the same numbers from fewer and larger operations.

Knows how the weights of a block are joined, and stored so that a product with one row reads them in order. Knows
nothing of tokens or sampling. Weights are copied: whoever trains on makes a new one. Queries and keys have their
channels in another order, in which a rotation is one complex product, so a cache that was begun here is continued here.

Three things cost a small model's pass on a CPU: the reading of weights (transposed ones are read up to four times as
fast, `docs/benchmarks.md`), the number of operations, and products of one row each.

Shape legend: R rows of all caches, T new positions, M = R T, S positions, H heads, d head channels, D width, F width of
the feed-forward part.
"""

from collections.abc import Sequence
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lit_pure.models.attention import SDPA, attend_to_caches
from lit_pure.models.blocks import Block, rotary
from lit_pure.models.cache import CacheStep, KVCache
from lit_pure.models.next_token import NextTokenBackbone

LARGEST = 200_000_000
"""Parameters of the blocks that are copied at most: a copy of more would take memory that may not be there."""


class Reader(Protocol):
    """What reads ids behind the positions in caches, as `NextTokenBackbone.feed` does."""

    def feed(self, ids_RT: Tensor, caches: Sequence[KVCache]) -> Tensor:
        """Hidden states (R, T, D)."""


def reader_of(backbone: NextTokenBackbone) -> Reader:
    """The fastest reader of a backbone as it is now: fused on a CPU, else the backbone itself."""
    return FusedBackbone(backbone) if can_fuse(backbone) else backbone


def can_fuse(backbone: NextTokenBackbone) -> bool:
    """Whether it is an ordinary one on a CPU: no adapters, no quantised, sharded or half-precision weights."""
    if torch.is_autocast_enabled("cpu"):
        return False
    weights = [item.weight for block in backbone.blocks for item in _products(block)]
    plain = all(type(item) is nn.Linear for block in backbone.blocks for item in _products(block))
    known = all(type(item.data) is Tensor and item.dtype in (torch.float32, torch.float64) for item in weights)
    on_cpu = all(item.device.type == "cpu" for item in weights)
    return plain and known and on_cpu and sum(item.numel() for item in weights) <= LARGEST


class FusedBackbone:
    """A copy of a backbone's blocks for reading; its embedding is the backbone's own."""

    def __init__(self, backbone: NextTokenBackbone) -> None:
        """`backbone`: one that `can_fuse`."""
        config = backbone.config
        self.heads, self.theta = config.heads, config.rope_theta
        self.embed = backbone.embed
        with torch.no_grad():
            self.blocks = [_FusedBlock(block, config.heads) for block in backbone.blocks]  # type: ignore[arg-type]
            self.norm = _Norm(backbone.norm)
            self.scale_D = _scale(backbone.norm)
        self._turns_Sc = torch.empty(0, config.width // config.heads // 2, dtype=torch.complex64)

    def feed(self, ids_RT: Tensor, caches: Sequence[KVCache]) -> Tensor:
        """As `NextTokenBackbone.feed`."""
        rows, count = ids_RT.shape
        steps = [cache.begin_step(count) for cache in caches]
        x_MD = self.embed(ids_RT).flatten(0, 1)
        turns_Sc = self._turns(max(cache.capacity for cache in caches), x_MD.dtype)
        turns = torch.cat([_turns_of(step, turns_Sc) for step in steps])[:, :, None, None]
        for layer, block in enumerate(self.blocks):
            x_MD = block(x_MD, turns, steps, layer)
        return (self.norm(x_MD) * self.scale_D).view(rows, count, -1)

    def _turns(self, positions: int, dtype: torch.dtype) -> Tensor:
        """Unit complex numbers (S, d/2) that turn the channels of each position; S is at least `positions`."""
        if len(self._turns_Sc) < positions or self._turns_Sc.dtype != dtype.to_complex():
            channels = 2 * self._turns_Sc.shape[1]
            cos, sin = rotary(torch.arange(positions)[None], channels, self.theta)
            parts = (part[0, :, 0, : channels // 2].to(dtype) for part in (cos, sin))
            self._turns_Sc = torch.complex(*parts)
        return self._turns_Sc


class _Norm:
    """Root mean square normalisation but for its weights, which the next product has in its own.

    x / sqrt(mean(x^2) + eps) = sqrt(D) x / hypot(|x|, sqrt(D eps)), three operations; sqrt(D) is in `_scale`.
    """

    def __init__(self, norm: nn.RMSNorm) -> None:
        assert norm.eps is not None
        self.least = (norm.weight.new_tensor(norm.normalized_shape[0]) * norm.eps).sqrt()

    def __call__(self, x_MD: Tensor) -> Tensor:
        return x_MD / torch.hypot(torch.linalg.vector_norm(x_MD, dim=-1, keepdim=True), self.least)


class _FusedBlock:
    def __init__(self, block: Block, heads: int) -> None:
        own, part = block.attention, block.ffn
        width = own.q.in_features
        channels, self.heads = width // heads, heads
        order_d = torch.arange(channels).view(2, -1).T.flatten()  # i and i + d/2 side by side
        turned = (item.weight.view(heads, channels, width)[:, order_d].flatten(0, 1) for item in (own.q, own.k))
        joined = torch.cat([*turned, own.v.weight]) * _scale(block.attention_norm)
        self.qkv_DE = joined.T.contiguous()
        self.out_DD = own.out.weight.T.contiguous()
        self.gate_up_DF = (torch.cat([part.gate.weight, part.up.weight]) * _scale(block.ffn_norm)).T.contiguous()
        self.down_FD = part.down.weight.T.contiguous()
        norms = (own.q_norm, own.k_norm)
        self.weight_2Hd, self.bias_2Hd = (
            torch.stack([getattr(norm, name)[order_d].expand(heads, -1) for norm in norms]).contiguous()
            for name in ("weight", "bias")
        )
        self.eps = own.q_norm.eps
        self.attention_norm, self.ffn_norm = _Norm(block.attention_norm), _Norm(block.ffn_norm)

    def __call__(self, x_MD: Tensor, turns: Tensor, steps: Sequence[CacheStep], layer: int) -> Tensor:
        qkv = (self.attention_norm(x_MD) @ self.qkv_DE).view(*turns.shape[:2], 3, self.heads, -1)
        unit = torch.layer_norm(qkv[:, :, :2], qkv.shape[-1:], eps=self.eps)
        unit = torch.addcmul(self.bias_2Hd, unit, self.weight_2Hd)
        unit = torch.view_as_complex(unit.view(*unit.shape[:-1], -1, 2)) * turns
        q, k = torch.view_as_real(unit).flatten(-2).unbind(2)
        mixed = attend_to_caches(SDPA, steps, layer, q, k, qkv[:, :, 2])
        x_MD = torch.addmm(x_MD, mixed.flatten(2).flatten(0, 1), self.out_DD)
        gate, up = (self.ffn_norm(x_MD) @ self.gate_up_DF).chunk(2, dim=-1)
        return torch.addmm(x_MD, F.silu(gate).mul_(up), self.down_FD)


def _turns_of(step: CacheStep, turns_Sc: Tensor) -> Tensor:
    """Those of the new positions in the rows of a cache, (B, T, d/2); a slice where all rows are equally long."""
    if step.place is None:
        return turns_Sc[step.positions_BT]
    return turns_Sc[step.place].expand(len(step.cache.length_B), -1, -1)


def _products(block: nn.Module) -> list[nn.Linear]:
    assert isinstance(block, Block)
    own, part = block.attention, block.ffn
    return [own.q, own.k, own.v, own.out, part.gate, part.up, part.down]


def _scale(norm: nn.RMSNorm) -> Tensor:
    """What the product behind a norm multiplies its columns with."""
    return norm.weight * norm.normalized_shape[0] ** 0.5
