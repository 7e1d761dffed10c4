"""The next-token backbone: integers in, hidden states and logits out.

Knows how blocks are stacked, trained in one pass and fed step by step with a cache. Knows no vocabulary: only how many
rows the embedding has. At the default config it is PURE's 7.08B transformer.

Shape legend: B rows, T positions, D width, V vocabulary, K rows of the head that are asked for.
"""

import torch
from torch import Tensor, nn

from lit_pure.backbone.blocks import Block, KVCache, rotary
from lit_pure.config.models import BackboneConfig

INITIAL_STD = 0.02
"""Standard deviation of fresh weights, Chameleon's."""


class NextTokenBackbone(nn.Module):
    """Decoder-only transformer with an untied head."""

    def __init__(self, config: BackboneConfig, vocabulary_size: int) -> None:
        super().__init__()
        self.config = config
        self.embed = nn.Embedding(vocabulary_size, config.width)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.layers))
        self.norm = nn.RMSNorm(config.width, eps=config.norm_eps)
        self.head = nn.Linear(config.width, vocabulary_size, bias=False)
        self.apply(_initialise)

    def forward(self, ids_BT: Tensor) -> Tensor:
        """Hidden states (B, T, D) after the last norm, each of what stands at or before it; for training."""
        positions_1T = torch.arange(ids_BT.shape[1], device=ids_BT.device)[None]
        angles = rotary(positions_1T, self._head_channels, self.config.rope_theta)
        x_BTD = self.embed(ids_BT)
        for block in self.blocks:
            x_BTD = block(x_BTD, angles)
        return self.norm(x_BTD)

    def logits(self, ids_BT: Tensor) -> Tensor:
        """Logits (B, T, V) of every position: for short sequences and tests; training uses `losses.py`."""
        return self.head(self(ids_BT))

    def feed(self, ids_BT: Tensor, cache: KVCache, counts_B: Tensor | None = None) -> Tensor:
        """Append ids to each row of the cache; the hidden state (B, D) after each row's last one.

        Row b takes its first `counts_B[b]` ids (all T without `counts_B`); what stands behind them is overwritten
        later and never attended to. A row with count 0 is left as it was and returns a state without meaning.
        """
        steps = ids_BT.shape[1]
        offsets_T = torch.arange(steps, device=ids_BT.device)
        # A row at the end of the cache that takes nothing must not write past it.
        capacity = cache.keys[0].shape[1]
        positions_BT = (cache.length_B[:, None] + offsets_T).clamp(max=capacity - 1)
        cache.upper = min(cache.upper + steps, capacity)
        angles = rotary(positions_BT, self._head_channels, self.config.rope_theta)
        seen_S = torch.arange(cache.upper, device=ids_BT.device)
        mask_B1TS = (seen_S <= positions_BT[..., None])[:, None]
        x_BTD = self.embed(ids_BT)
        for layer, block in enumerate(self.blocks):
            x_BTD = block(x_BTD, angles, mask_B1TS, (cache, layer, positions_BT))
        if counts_B is None:
            cache.length_B += steps
            return self.norm(x_BTD[:, -1])
        cache.length_B += counts_B
        rows = torch.arange(len(ids_BT), device=ids_BT.device)
        return self.norm(x_BTD[rows, (counts_B - 1).clamp(min=0)])

    @torch.no_grad()
    def start_rows_from(self, rows_N: Tensor, vectors_NC: Tensor, generator: torch.Generator) -> None:
        """Let rows of embedding and head start as random projections of unit vectors, so that near ones start near.

        Each matrix has its own projection; entries keep the standard deviation of the usual start.
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
