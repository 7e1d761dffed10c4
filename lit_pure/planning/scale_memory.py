"""The memory of one process that trains NSARM's networks, by part, at each moment of its peaks.

Derived from `models/next_scale_blocks.py`, `models/transformation.py`, `families/nsarm/` and FSDP2; `tests/planning`
compares it with what blocks save and with steps. Knows activations and moments. Tensors of the networks are
`scales.py`'s, shards `weights.py`'s. What it counts roughly: convolutions, and the transformation network.
"""

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from math import prod

from lit_pure.config.next_scale import NextScaleConfig
from lit_pure.models.scales import latent_grids, tokens
from lit_pure.planning.pictures import ENLARGED
from lit_pure.planning.plan import Plan
from lit_pure.planning.scales import (
    ScaleSetting,
    block_tensors,
    outer_tensors,
    tokenizer_weights,
    transformation_tensors,
)
from lit_pure.planning.setting import FLOAT32
from lit_pure.planning.weights import EIGHT_BIT_BLOCK, GATHERED_AT_ONCE, Tensors, numel, shard_numel

LAYER_BYTES = 88
"""What a layer of the transformation network saves [bytes per token and channel of width], in float32."""


def saved_by_block(setting: ScaleSetting, config: NextScaleConfig) -> float:
    """What a block of the transformer saves without activation checkpointing, its mask excluded [bytes per token]."""
    width, sizes = config.width, setting.itemsizes
    product, norm = sizes.product, FLOAT32 if sizes.cast else sizes.stream
    # Three norms keep their input; the modulated two also their output, and the projections its copy or successor.
    norms = 3 * norm + 2 * norm + 3 * product
    # Queries and keys in float32 before normalisation, queries also after it, and what attention reads. If nothing is
    # cast, keys keep the storage that they share with queries and values.
    cosines = 3 * FLOAT32 + 2 * product + (0 if product < FLOAT32 else 2 * product)
    attention = cosines + 2 * product  # values, output
    caption = 2 * product  # queries, output
    gated = 2 * product
    heads = 2 * FLOAT32 * config.heads * 2  # normalisers of attention, and lengths of queries and keys
    return float(width * (norms + attention + caption + gated) + 2 * product * config.ffn + heads)


def mask_bytes(setting: ScaleSetting, config: NextScaleConfig) -> float:
    """The dense mask as attention's kernel reads it, once in each block [bytes]; flex attention needs none."""
    return float(setting.itemsizes.product * setting.length**2) if config.attention == "sdpa" else 0.0


@dataclass(frozen=True)
class ScaleMemory(Plan):
    """The memory of a process with this setting [bytes]."""

    setting: ScaleSetting

    @cached_property
    def moments(self) -> dict[str, dict[str, float]]:
        """Moment -> part -> bytes, without the reserve."""
        moments = {
            "pictures": self._training | {"pictures on the way": self._pictures(self.setting.batch)},
            "forward": self._with_activations | {"a block's passes": self._forward_peak * self.setting.positions},
            "loss": self._with_activations | {"loss and head": self._head(self.setting.positions)},
            "backward": self._with_activations
            | {"gathered pieces": self._gathered + self._reduced, "a block's passes": self._backward_peak},
            "update": self._training | {"AdamW's step": self._step},
            "validation": self._training | self._decoding(self.setting.shown),
            "test": self._kept | self._decoding(self.setting.tested) if self.setting.tested else {},
        }
        return {name: parts for name, parts in moments.items() if parts}

    @property
    def loss_and_head(self) -> float:
        """Norm, logits and what the loss makes of them, with gradients, of one picture."""
        return self._head(self.setting.length)

    @cached_property
    def tensors(self) -> Tensors:
        """All trained tensors."""
        found: dict[tuple[int, ...], int] = {}
        for part in self._units:
            for shape, times in part.items():
                found[shape] = found.get(shape, 0) + times
        return found

    @cached_property
    def _units(self) -> list[Tensors]:
        """What is gathered together: blocks, and the rest of each network."""
        setting = self.setting
        config, network = setting.transformer, setting.transformation
        units = [block_tensors(config)] * config.layers + [outer_tensors(config)] if config else []
        return units + ([transformation_tensors(network, setting.tokenizer.bits)] if network else [])

    @cached_property
    def _elements(self) -> int:
        """Elements of all trained tensors in this process."""
        return sum(shard_numel(self.setting, shape) * times for shape, times in self.tensors.items())

    @cached_property
    def _kept(self) -> dict[str, float]:
        """Parts that exist all the time."""
        setting = self.setting
        frozen = tokenizer_weights(setting.tokenizer) * FLOAT32 + setting.text_bytes
        return {
            "parameters": float(self._elements * setting.itemsizes.stored),
            "moving average": float(self._elements * FLOAT32) if setting.optim.ema else 0.0,
            "tokenizer and text encoder": float(frozen),
        }

    @cached_property
    def _training(self) -> dict[str, float]:
        """Parts that exist in training; gradients are counted whole at each moment."""
        setting, stored = self.setting, self.setting.itemsizes.stored
        moment = 1 + FLOAT32 / EIGHT_BIT_BLOCK if setting.optim.states == "8bit" else stored
        return self._kept | {
            "gradients": float(self._elements * stored * (2 if setting.replicated else 1)),
            "AdamW's moments": 2.0 * self._elements * moment,
        }

    @cached_property
    def _with_activations(self) -> dict[str, float]:
        config = self.setting.transformer
        found = self._training | {"gathered pieces": self._gathered, "transformation network": self._transformation}
        if config:
            found["activations"] = config.layers * self._saved(config)
        return found

    def _saved(self, config: NextScaleConfig) -> float:
        """What a block keeps until its backward pass."""
        setting = self.setting
        if setting.trainer.activation_checkpointing == "none":
            return saved_by_block(setting, config) * setting.positions + mask_bytes(setting, config)
        kept = float(config.width * setting.itemsizes.stream)
        if setting.trainer.activation_checkpointing == "selective":  # all products and both attentions
            kept += (8 * config.width + config.ffn) * setting.itemsizes.product
        return kept * setting.positions

    @cached_property
    def _forward_peak(self) -> float:
        """Of a block that saves nothing, or what exists besides when it saves all [bytes per token]."""
        config, sizes = self.setting.transformer, self.setting.itemsizes
        return float(2 * config.ffn * sizes.product + 3 * config.width * FLOAT32) if config else 0.0

    @cached_property
    def _backward_peak(self) -> float:
        """A block's backward pass: what is computed again, and the feed-forward part's gradients."""
        setting, config = self.setting, self.setting.transformer
        if config is None:
            return 0.0
        gradients = 2 * config.ffn * setting.itemsizes.product + 2 * config.width * FLOAT32
        again = setting.trainer.activation_checkpointing != "none"
        whole = saved_by_block(setting, config) * setting.positions + mask_bytes(setting, config) if again else 0.0
        return whole + gradients * setting.positions

    def _head(self, positions: int) -> float:
        """Hidden states in float32 before and after norm and modulation, logits and probabilities, and gradients."""
        config = self.setting.transformer
        return float(positions * FLOAT32 * (5 * config.width + 4 * self.setting.vocabulary)) if config else 0.0

    @cached_property
    def _transformation(self) -> float:
        """Activations of the transformation network, which are never computed again."""
        setting, config = self.setting, self.setting.transformation
        if config is None:
            return 0.0
        side = setting.size // setting.scale // setting.tokenizer.downsample
        cells = latent_grids(setting.grids[: setting.known], setting.tokenizer.patch)
        total = 3 * sum(config.stem) * side**2 * FLOAT32
        for grid, width, layers in zip(cells, config.widths, config.layers, strict=False):
            total += 3 * (width // 2 + width) * side**2 * FLOAT32
            total += LAYER_BYTES * layers * width * tokens([grid])
        return float(setting.batch * total)

    @cached_property
    def _gathered(self) -> float:
        """Units that FSDP has gathered at one time with the next one's buffer, or autocast's copies [bytes]."""
        setting, product = self.setting, self.setting.itemsizes.product
        if setting.sharded:
            sizes = sorted((numel(unit) for unit in self._units), reverse=True)
            return float(sum(sizes[: GATHERED_AT_ONCE + 1]) * product)
        matrices = sum(prod(shape) * times for shape, times in self.tensors.items() if len(shape) > 1)
        return float(matrices * product) if setting.itemsizes.cast else 0.0

    @cached_property
    def _reduced(self) -> float:
        """Unsharded gradients of the largest unit, and their float32 copies for reduce-scatter [bytes]."""
        largest = max(numel(unit) for unit in self._units)
        return float(largest * (self.setting.itemsizes.product + FLOAT32)) if self.setting.sharded else 0.0

    @cached_property
    def _step(self) -> float:
        """What AdamW needs while it updates: roots of all second moments, or of one after the other with FSDP."""
        setting, stored = self.setting, self.setting.itemsizes.stored
        if setting.sharded or setting.optim.states == "8bit":
            return 2.0 * max(shard_numel(setting, shape) for shape in self.tensors) * stored
        return float(self._elements * stored)

    def _pictures(self, pictures: int) -> float:
        """Degradation of one picture, or the tokenizer's encoder on a micro-batch: its widest residual block."""
        setting, sizes = self.setting, self.setting.tokenizer
        side, widest = setting.size // sizes.stem, 0
        for before, width in pairwise([sizes.width, *sizes.channels]):
            widest = max(widest, (before + 4 * width) * side**2)
            side //= 2
        encoding = pictures * (widest + 9 * setting.size**2) * FLOAT32
        return float(max(encoding, ENLARGED * 3 * (setting.size * setting.enlarged) ** 2 * FLOAT32))

    def _decoding(self, pictures: int) -> dict[str, float]:
        """The gathered networks; keys and values with the last scale's pass, or the tokenizer's decoder after it."""
        setting, config, sizes = self.setting, self.setting.transformer, self.setting.tokenizer
        number = setting.itemsizes.product if setting.sharded else setting.itemsizes.stored
        whole = float(numel(self.tensors) * number) if setting.sharded else self._gathered
        first, second = sizes.channels[0], sizes.channels[min(1, len(sizes.channels) - 1)]
        rendering = pictures * (second + 4 * first) * (setting.size // sizes.stem) ** 2 * FLOAT32
        stored = drawing = 0.0
        if config:
            rows = pictures * (1 + setting.guided)
            stored = rows * 2.0 * config.layers * config.width * (setting.length + setting.words) * number
            drawing = rows * tokens(setting.grids[-1:]) * (2.0 * config.ffn * number + 6 * config.width * FLOAT32)
        return {"gathered pieces": whole, "decoding": max(stored + drawing, float(rendering))}
