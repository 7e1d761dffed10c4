"""What the memory of NSARM's training depends on, and the tensors of its networks.

Derived from `models/next_scale.py`, `models/transformation.py` and `models/autoencoder.py`. Knows sizes, shapes and
bytes per element. Knows no moment (`scale_memory.py`).
"""

from collections import Counter
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

from lit_pure.config.bit_tokenizer import BitTokenizerConfig
from lit_pure.config.next_scale import NextScaleConfig
from lit_pure.config.training import OptimConfig, TrainerConfig
from lit_pure.config.transformation import TransformationConfig
from lit_pure.models.scales import Grid, tokens
from lit_pure.planning.setting import ItemSizes, item_sizes
from lit_pure.planning.weights import Shape, Tensors

FFN = 4
"""Hidden channels of the transformation network's transformers, in widths."""


@dataclass(frozen=True)
class ScaleSetting:
    """Everything that the memory of one process depends on."""

    transformer: NextScaleConfig | None
    """None where it is not trained."""
    transformation: TransformationConfig | None
    """None where it is not trained."""
    tokenizer: BitTokenizerConfig
    optim: OptimConfig
    trainer: TrainerConfig
    grids: tuple[Grid, ...]
    """Of tokens."""
    known: int
    """Scales of the prefix."""
    words: int
    """Tokens of the longest caption."""
    text_bytes: float
    """Of the frozen text encoder."""
    guided: bool
    """Decoding has a second branch."""
    size: int
    """Side of a picture [px]."""
    scale: int
    """How many times a side is enlarged."""
    enlarged: float
    """How much longer than the picture's side an intermediate picture of the degradation may be, as a factor."""
    labels: int
    """Tokens that the loss uses."""
    batch: int
    """Pictures of a micro-batch in one process."""
    shown: int
    """Pictures decoded at once in a validation."""
    tested: int
    """Pictures decoded at once in the test; 0 without test sets."""
    gpus: int
    notes: tuple[str, ...] = ()

    outputs: ClassVar[str] = "logits of a token"
    trained: ClassVar[str] = "network"

    @property
    def length(self) -> int:
        """Tokens of a picture."""
        return tokens(self.grids)

    @property
    def positions(self) -> int:
        """Tokens of a micro-batch."""
        return self.batch * self.length

    @property
    def vocabulary(self) -> int:
        """Logits of a token."""
        return 2 * self.tokenizer.token_bits

    @property
    def sharded(self) -> bool:
        """Whether each process has a shard of the networks."""
        return self.trainer.strategy == "fsdp"

    @property
    def replicated(self) -> bool:
        """Whether several processes have a copy of the networks each."""
        return not self.sharded and self.gpus > 1

    @property
    def itemsizes(self) -> ItemSizes:
        """Bytes per element; the stream has the dtype of what FSDP gathers."""
        precision = self.trainer.precision
        return item_sizes(precision, narrow=self.sharded and precision == "bf16-mixed")


def block_tensors(config: NextScaleConfig) -> Tensors:
    """Tensors of a block."""
    width, ffn = config.width, config.ffn
    found: Counter[Shape] = Counter({(6, width): 1, (3 * width, width): 1, (2 * width, width): 1, (width, width): 3})
    found.update({(ffn, width): 1, (width, ffn): 1, (ffn,): 1, (config.heads,): 1})
    # Biases of queries, values twice, four outputs and queries of the caption, and a norm's weight and bias.
    found[width,] += 9
    return found


def outer_tensors(config: NextScaleConfig) -> Tensors:
    """Tensors of a transformer outside its blocks: captions, embedding, levels, modulation, head."""
    width, text = config.width, config.text_width
    found: Counter[Shape] = Counter({(config.text_length, text): 1, (text,): 1})
    found.update({(config.pool_heads, width // config.pool_heads): 1})
    for shape in [(2 * width, text), (width, width), (width, text), (width, width), (width, config.bits)]:
        found[shape] += 1
    found[width,] += 6  # of values and output of the pooling, of the projection twice, the start, the embedding
    found[config.levels, width] += 1
    for rows in (6 * width, 2 * width, 2 * config.bits):
        found[rows, width] += 1
        found[rows,] += 1
    return found


def transformation_tensors(config: TransformationConfig, latent: int) -> Tensors:
    """Tensors of a transformation network of either layout."""
    found: Counter[Shape] = Counter()
    raw = config.layout == "raw"

    def convolutions(channels: list[int]) -> None:
        for before, after in pairwise(channels):
            found[after, before, 3, 3] += 1
            found[after,] += 1
            found[(after, config.side, config.side) if raw else (after,)] += 2

    convolutions([latent, *config.stem, latent] if raw else [latent, *config.stem])
    for width, layers in zip(config.widths, config.layers, strict=True):
        half = width // 2
        convolutions([latent if raw else config.stem[-1], half, width])
        for _ in range(layers):
            for shape in [(3 * width, width), (width, width), (FFN * width, width), (width, FFN * width)]:
                found[shape] += 1
            for rows, times in {3 * width: 1, FFN * width: 1, width: 6}.items():
                found[rows,] += times
        found[width,] += 0 if raw else 2  # the last norm, where norms come first
        found[half, width] += 1
        found[half,] += 3
        found[latent, half] += 1
        found[latent,] += 1
        if config.predicts == "correction":
            found[width, latent] += 1
            found[width,] += 1
    return found


def tokenizer_weights(config: BitTokenizerConfig) -> int:
    """Parameters of a bitwise tokenizer."""
    folded, first, last = 3 * config.stem**2, config.channels[0], config.channels[-1]
    total = _convolution(folded, config.width) + _convolution(last, config.bits) + 2 * last
    total += _convolution(config.bits, last) + _convolution(first, folded) + 2 * first
    total += 4 * _residual(last, last)  # two in the middle of each half
    for half, extra in ((config.channels, 0), (config.channels[::-1], 1)):
        before = config.width if not extra else last
        for level, width in enumerate(half):
            total += _residual(before, width) + (config.res_blocks + extra - 1) * _residual(width, width)
            total += _convolution(width, width) if level < len(half) - 1 else 0
            before = width
    return total


def _convolution(inputs: int, outputs: int, side: int = 3) -> int:
    return (inputs * side**2 + 1) * outputs


def _residual(inputs: int, outputs: int) -> int:
    shortcut = _convolution(inputs, outputs, 1) if inputs != outputs else 0
    return 2 * (inputs + outputs) + _convolution(inputs, outputs) + _convolution(outputs, outputs) + shortcut
