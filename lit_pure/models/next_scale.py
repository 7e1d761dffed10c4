"""The next-scale transformer: running sums of codes in, logits of all bits of each scale out.

Knows how a sequence of scales is embedded, masked, trained in one pass, and fed scale by scale with stored keys and
values. Knows nothing of how bits become running sums, or of pictures. The design is Infinity's (arXiv 2412.04431),
which NSARM (arXiv 2510.00820) continues; the sizes are in `config/next_scale.py`.

Shape legend: B pictures, L tokens of all scales, M = L - 1 tokens without the first scale, Q new tokens, D width, b
bits of a token.
"""

import math
from collections.abc import Callable, Sequence
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lit_pure.config.next_scale import NextScaleConfig
from lit_pure.models.frame_rope import Grid, cached_angles, tokens_in
from lit_pure.models.next_scale_blocks import Conditions, ScaleBlock
from lit_pure.models.next_scale_text import AttentivePooling, Caption, CaptionReader
from lit_pure.models.packed_text import PackedText
from lit_pure.models.scale_masks import dense_mask, flex_mask, levels
from lit_pure.models.scale_state import ScaleState, new_state

UNDECAYED = ("empty_TW", "start_D", "level.weight", "ada_6D", "scale_H", "query_Hd")
"""Ends of the names of parameters without weight decay; vectors have none either."""


class BitHead(nn.Module):
    """Two logits per bit from hidden states, modulated by the caption's vector; always in float32."""

    def __init__(self, config: NextScaleConfig) -> None:
        super().__init__()
        self.eps = config.norm_eps
        self.ada = nn.Linear(config.width, 2 * config.width)
        self.out = nn.Linear(config.width, 2 * config.bits)

    def forward(self, x_BLD: Tensor, vector_BD: Tensor) -> Tensor:
        """Logits (B, L, b, 2) for 0 and for 1."""
        with torch.autocast(x_BLD.device.type, enabled=False):
            ada_B1D = F.linear(F.silu(vector_BD.float()), self.ada.weight.float(), self.ada.bias.float())[:, None]
            scale, shift = ada_B1D.chunk(2, dim=-1)
            x_BLD = F.layer_norm(x_BLD.float(), x_BLD.shape[-1:], eps=self.eps) * (1 + scale) + shift
            return F.linear(x_BLD, self.out.weight.float(), self.out.bias.float()).unflatten(-1, (-1, 2))


class NextScaleTransformer(nn.Module):
    """A transformer that predicts all bits of a scale from the captions and the scales before it."""

    def __init__(self, config: NextScaleConfig) -> None:
        super().__init__()
        self.config = config
        self.captions = CaptionReader(config)
        self.start_D = nn.Parameter(torch.zeros(config.width))
        self.embed = nn.Linear(config.bits, config.width)
        self.level = nn.Embedding(config.levels, config.width)
        self.ada = nn.Linear(config.width, 6 * config.width)
        shares = [config.drop_path * layer / max(1, config.layers - 1) for layer in range(config.layers)]
        self.blocks = nn.ModuleList(ScaleBlock(config, share) for share in shares)
        self.head = BitHead(config)
        initialise(self)

    def forward(
        self, inputs_BMb: Tensor, text: PackedText, grids: Sequence[Grid], frame: Grid, dropped: Sequence[bool] = ()
    ) -> Tensor:
        """Logits (B, L, b, 2), float32, of all scales in one masked pass; for training.

        Args:
            inputs_BMb: for each scale after the first, the running sum of the codes of the scales before it, on its own
                grid, in rows.
            text: encoded captions.
            grids: rows and columns of each scale.
            frame: grid on which the positions of all scales lie: that of the largest scale of the picture's template.
            dropped: for each picture, whether learned rows stand in place of its caption.

        Raises:
            ValueError: inputs and grids do not fit, or there are more scales than levels.
        """
        grids = tuple(grids)
        self._check(inputs_BMb, grids)
        caption = self.captions(text, dropped)
        shared = self._conditions(caption, grids, frame)
        # On CPUs flex attention has no gradient.
        flex = self.config.attention == "flex" and not (inputs_BMb.device.type == "cpu" and torch.is_grad_enabled())
        shared = shared._replace(mask=(flex_mask if flex else dense_mask)(grids, inputs_BMb.device))
        x_BLD = self._tokens(caption, inputs_BMb, levels(grids, inputs_BMb.device), first=True)
        for block in self.blocks:
            x_BLD = block(x_BLD, shared)
        return self.head(x_BLD, caption.vector_BD)

    def begin(self, text: PackedText, grids: Sequence[Grid], frame: Grid, dropped: Sequence[bool] = ()) -> ScaleState:
        """An empty state for `feed`: captions are read, and room is made for all scales. Arguments as in `forward`."""
        grids = tuple(grids)
        self._check(None, grids)
        caption = self.captions(text, dropped)
        memories = [
            block.text_attention.memory(caption.tokens_BTD, caption.mask_B11T)
            for block in self.blocks
            if isinstance(block, ScaleBlock)
        ]
        return new_state(grids, caption, self._conditions(caption, grids, frame), memories)

    def feed(
        self,
        inputs_BQb: Tensor | None,
        state: ScaleState,
        scales: int = 1,
        after: Callable[[int, Tensor], Tensor] | None = None,
    ) -> Tensor:
        """Read the next scales in one pass; hidden states (B, Q, D), for `head`.

        Args:
            inputs_BQb: their inputs; the first scale has none, so None if it alone is read.
            state: from `begin`; it then holds these scales, too.
            scales: how many; a token sees its own scale and earlier ones.
            after: replaces the hidden states after a block, given its number from 0.
        """
        step = state.step(scales)
        x_BQD = self._tokens(state.caption, inputs_BQb, step.levels_Q, first=state.scale == 0)
        for layer, block in enumerate(self.blocks):
            x_BQD = block(x_BQD, step.shared, partial(step.attend, layer), state.memories[layer])
            if after is not None:
                x_BQD = after(layer, x_BQD)
        state.commit(scales, step.tokens)
        return x_BQD

    def _tokens(self, caption: Caption, inputs: Tensor | None, levels_Q: Tensor, first: bool) -> Tensor:
        """The embedded tokens; the caption's vector is the only one of the first scale."""
        parts = [(caption.vector_BD + self.start_D)[:, None]] if first else []
        if inputs is not None and inputs.shape[1]:
            parts.append(self.embed(inputs.to(self.embed.weight.dtype)))
        return torch.cat(parts, dim=1) + self.level(levels_Q)

    def _conditions(self, caption: Caption, grids: tuple[Grid, ...], frame: Grid) -> Conditions:
        channels = self.config.width // self.config.heads
        angles = cached_angles(grids, frame, channels, self.config.rope_theta, caption.vector_BD.device)
        ada_B6D = self.ada(F.silu(caption.vector_BD)).unflatten(-1, (6, -1))
        return Conditions(ada_B6D, angles, caption.tokens_BTD, caption.mask_B11T, mask=None)

    def _check(self, inputs_BMb: Tensor | None, grids: Sequence[Grid]) -> None:
        if not grids or grids[0] != (1, 1) or len(grids) > self.config.levels:
            raise ValueError(
                f"{len(grids)} scales {list(grids)[:3]} ...: the first one is (1, 1), and there are at most "
                f"{self.config.levels}"
            )
        wanted = (tokens_in(grids) - 1, self.config.bits)
        if inputs_BMb is not None and tuple(inputs_BMb.shape[1:]) != wanted:
            raise ValueError(
                f"inputs of {tuple(inputs_BMb.shape[1:])} tokens and bits do not fit {len(grids)} scales, which have "
                f"{wanted} after the first"
            )


@torch.no_grad()
def initialise(model: NextScaleTransformer) -> None:
    """Infinity's initial weights, with `config.gate` added to the gates."""
    width = model.config.width
    std = math.sqrt(1 / width / 3)
    for module in model.modules():
        if isinstance(module, nn.Linear | nn.Embedding):
            nn.init.trunc_normal_(module.weight, std=std)
            if isinstance(module, nn.Linear) and module.bias is not None:
                module.bias.zero_()
        elif isinstance(module, AttentivePooling):
            nn.init.trunc_normal_(module.query_Hd, std=std)
        elif isinstance(module, ScaleBlock):
            module.ada_6D.normal_(std=1 / math.sqrt(width))
            module.ada_6D[:2].mul_(5e-6).add_(model.config.gate)
            module.ada_6D[2:].mul_(1e-3)
    depth = math.sqrt(2 * model.config.layers)
    for block in model.blocks:
        if isinstance(block, ScaleBlock):
            for linear in (block.attention.out, block.text_attention.out, block.ffn.down):
                linear.weight.div_(depth)
    nn.init.trunc_normal_(model.start_D, std=std)
    model.captions.empty_TW.normal_(std=1 / math.sqrt(model.config.text_width))
    model.head.out.weight.mul_(0.02)
    model.head.ada.weight.mul_(1e-3)


def decays(name: str, parameter: Tensor) -> bool:
    """Whether weight decay acts on a parameter, by the published rule."""
    return parameter.ndim > 1 and not name.endswith(UNDECAYED)
