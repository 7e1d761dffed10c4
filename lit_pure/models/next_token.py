"""The next-token backbone: integers in, hidden states and logits out.

Knows how blocks are stacked, trained in one pass, and fed step by step with a cache. Knows no vocabulary, only the
number of rows of the embedding. The default config is PURE's 7.08B transformer.

Shape legend: B rows, R rows of all caches, T positions, D width, V vocabulary, N rows that belong together.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import overload

import torch
from torch import Tensor, nn

from lit_pure.config.pure import BackboneConfig
from lit_pure.models.attention import AttentionBackend, attend_to_caches, choose, computing_dtype
from lit_pure.models.blocks import Block, rotary
from lit_pure.models.cache import KVCache
from lit_pure.models.losses import linear_cross_entropy

INITIAL_STD = 0.02
"""Standard deviation of initial weights, as Chameleon's."""


@dataclass(frozen=True)
class Prior:
    """What is expected at each position before anything is read: words near a vector get larger logits."""

    expected_NC: Tensor
    """A unit vector each; zeros where nothing is expected."""
    vectors_VC: Tensor
    """The unit vectors of all words; zeros for words that have none."""


class Head(nn.Linear):
    """From hidden states to logits, or directly to the loss, which never holds all logits.

    Both ways go through the module's call, because FSDP gathers the parameters there. With a prior, its weight times
    the cosine between a word's vector and the expected one is part of its logit.
    """

    def __init__(self, width: int, words: int, prior: float = 0.0, follows: bool = False) -> None:
        """`prior`: what its weight is at first; with `follows` it comes to depend on the hidden state."""
        super().__init__(width, words, bias=False)
        self.prior_1 = nn.Parameter(torch.full((1,), prior)) if prior else None
        self.prior_slope_D = nn.Parameter(torch.zeros(width)) if prior and follows else None

    def prior_weight(self, input: Tensor) -> Tensor:
        """The prior's weight (..., 1) at hidden states (..., D)."""
        assert self.prior_1 is not None
        if self.prior_slope_D is None:
            return self.prior_1.expand(*input.shape[:-1], 1)
        return self.prior_1 + (input * self.prior_slope_D).sum(-1, keepdim=True)

    @overload
    def forward(self, input: Tensor) -> Tensor: ...

    @overload
    def forward(
        self,
        input: Tensor,
        labels_N: Tensor,
        weight_N: Tensor,
        chunk: int,
        z: float = 0.0,
        prior: Prior | None = None,
    ) -> tuple[Tensor, Tensor]: ...

    def forward(
        self,
        input: Tensor,
        labels_N: Tensor | None = None,
        weight_N: Tensor | None = None,
        chunk: int = 1,
        z: float = 0.0,
        prior: Prior | None = None,
    ) -> Tensor | tuple[Tensor, Tensor]:
        """Logits (..., V) of hidden states (..., D), without a prior; with labels, `losses.linear_cross_entropy`."""
        if labels_N is None or weight_N is None:
            return super().forward(input)
        if prior is None or self.prior_1 is None:
            return linear_cross_entropy(input, self.weight, labels_N, weight_N, chunk, z)
        # More channels: the expected vector beside the state, the words' vectors beside their rows.
        expected_NC = (self.prior_weight(input) * prior.expected_NC).to(input.dtype)
        wider = torch.cat([input, expected_NC], dim=1)
        rows = torch.cat([self.weight, prior.vectors_VC.to(self.weight.dtype)], dim=1)
        return linear_cross_entropy(wider, rows, labels_N, weight_N, chunk, z)


class NextTokenBackbone(nn.Module):
    """Decoder-only transformer with an untied head."""

    def __init__(self, config: BackboneConfig, vocabulary_size: int) -> None:
        super().__init__()
        self.config = config
        self.embed = nn.Embedding(vocabulary_size, config.width)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.layers))
        self.norm = nn.RMSNorm(config.width, eps=config.norm_eps)
        self.head = Head(config.width, vocabulary_size, config.lq_prior, config.lq_prior_follows)
        self._backends: dict[tuple[str, torch.device, torch.dtype], AttentionBackend] = {}
        self.apply(_initialise)

    def attention(self, device: torch.device, dtype: torch.dtype) -> AttentionBackend:
        """What computes attention there, as `attention.choose` says, with its errors."""
        key = (self.config.attention, device, dtype)
        if key not in self._backends:
            self._backends[key] = choose(*key, self._head_channels)
        return self._backends[key]

    def forward(self, ids_BT: Tensor) -> Tensor:
        """Hidden states (B, T, D) after the last norm, under causal attention; for training.

        Raises ValueError where `config.attention` names a kernel that cannot be had here.
        """
        positions_1T = torch.arange(ids_BT.shape[1], device=ids_BT.device)[None]
        angles = rotary(positions_1T, self._head_channels, self.config.rope_theta)
        x_BTD = self.embed(ids_BT)
        backend = self.attention(x_BTD.device, computing_dtype(x_BTD))
        for block in self.blocks:
            assert isinstance(block, Block)
            if block.backend is not backend:  # a compiled block depends on it
                block.backend = backend
            x_BTD = block(x_BTD, angles)
        return self.norm(x_BTD)

    def units(self) -> list[nn.Module]:
        """The modules whose weights several processes share out, and gather together; each after what it contains."""
        return [*self.blocks, self.embed, self.head, self]

    def logits(self, ids_BT: Tensor) -> Tensor:
        """Logits (B, T, V) of every position, for short sequences and tests; training gets its loss from the head."""
        return self.head(self(ids_BT))

    def feed(self, ids_RT: Tensor, caches: Sequence[KVCache]) -> Tensor:
        """Read ids in each row behind the positions in its cache; hidden states (R, T, D).

        The rows of the caches, one after the other, are the rows of `ids_RT`. Keys and values are stored, but a row
        grows only when `KVCache.commit` says how many of the ids it keeps. So feeding twice changes nothing.

        Raises ValueError where `config.attention` names a kernel that cannot be had for these caches.
        """
        backend = self.attention(caches[0].keys_LBHSd.device, caches[0].keys_LBHSd.dtype)
        steps = [cache.begin_step(ids_RT.shape[1]) for cache in caches]
        angles = rotary(torch.cat([step.positions_BT for step in steps]), self._head_channels, self.config.rope_theta)
        x_RTD = self.embed(ids_RT)
        for layer, block in enumerate(self.blocks):
            x_RTD = block(x_RTD, angles, partial(attend_to_caches, backend, steps, layer))
        return self.norm(x_RTD)

    @torch.no_grad()
    def init_rows_from(self, rows_N: Tensor, vectors_NC: Tensor, generator: torch.Generator) -> None:
        """Initialise rows of embedding and head as random projections of unit vectors: near vectors give near rows.

        Each matrix has its own projection. The standard deviation of the entries is `INITIAL_STD`, as of all weights.
        """
        for matrix_VD in (self.embed.weight, self.head.weight):
            projection_CD = torch.randn(vectors_NC.shape[1], matrix_VD.shape[1], generator=generator)
            matrix_VD[rows_N] = (INITIAL_STD * vectors_NC @ projection_CD).to(matrix_VD)

    @property
    def _head_channels(self) -> int:
        return self.config.width // self.config.heads


def _initialise(module: nn.Module) -> None:
    """Normal weights; norms keep their ones."""
    if isinstance(module, nn.Linear | nn.Embedding):
        nn.init.normal_(module.weight, std=INITIAL_STD)
