"""Memory of weights: parameters, gradients, AdamW's moments, the moving average, and what FSDP gathers.

Derived from `models/next_token.py`, `models/adapters.py`, `lit/distributed/sharding.py`, torch's AdamW and FSDP2, and
torchao's 8-bit AdamW. Knows shapes of tensors and how they are sharded. Knows nothing of activations.
"""

from collections import Counter
from math import ceil, prod
from typing import Protocol

from lit_pure.planning.blocks import matrix_shapes
from lit_pure.planning.setting import FLOAT32, Setting

Shape = tuple[int, ...]

EIGHT_BIT_LEAST, EIGHT_BIT_BLOCK = 4096, 256
"""torchao keeps a moment in 8 bits if its tensor has at least so many elements, a multiple of the block."""
FOUR_BITS = (4 + 8 / 64 + 32 / (64 * 256)) / 8
"""Bytes per weight in NF4: 8 bits of scale for 64 weights, 32 bits for 256 scales (arXiv 2305.14314)."""
GATHERED_AT_ONCE = 2
"""Units that FSDP2 has gathered at one time: the one that computes, and the next one."""


Tensors = dict[Shape, int]
"""Shape -> number of tensors of that shape."""


def block_tensors(setting: Setting) -> Tensors:
    """Tensors of a block, without adapters."""
    config = setting.backbone
    tensors: Counter[Shape] = Counter((outputs, inputs) for inputs, outputs in matrix_shapes(config).values())
    tensors[config.width,] += 2  # of RMSNorm
    tensors[config.width // config.heads,] += 4  # weights and biases of the norms of queries and keys
    return tensors


def table_shape(setting: Setting) -> Shape:
    """Shape of the embedding and of the head."""
    return (setting.vocabulary, setting.backbone.width)


def adapter_tensors(setting: Setting) -> Tensors:
    """Tensors of a block's adapters."""
    rank = setting.adapter.rank
    sizes = [matrix_shapes(setting.backbone)[name] for name in setting.targets]
    return Counter(shape for inputs, outputs in sizes for shape in ((rank, inputs), (outputs, rank)))


def trained_tensors(setting: Setting) -> Tensors:
    """All tensors that the optimizer updates."""
    layers = setting.backbone.layers
    if setting.adapted:
        return _multiply(adapter_tensors(setting), layers)
    return {
        **_multiply(block_tensors(setting), layers),
        table_shape(setting): 2,
        (setting.backbone.width,): 2 * layers + 1,
    }


def numel(tensors: Tensors) -> int:
    """Elements of all tensors."""
    return sum(prod(shape) * times for shape, times in tensors.items())


class Sharing(Protocol):
    """How tensors are shared out."""

    @property
    def gpus(self) -> int: ...

    @property
    def sharded(self) -> bool: ...


def shard_numel(setting: Sharing, shape: Shape) -> int:
    """Elements of a tensor in one process: FSDP distributes rows as evenly as possible."""
    rows, *rest = shape
    return ceil(rows / setting.gpus) * prod(rest) if setting.sharded else prod(shape)


def process_numel(setting: Setting, tensors: Tensors) -> int:
    """Elements of all tensors in one process."""
    return sum(shard_numel(setting, shape) * times for shape, times in tensors.items())


def parameters(setting: Setting) -> float:
    """Parameters, frozen ones included [bytes]."""
    if not setting.adapted:
        return float(process_numel(setting, trained_tensors(setting)) * setting.itemsizes.stored)
    layers = setting.backbone.layers
    matrices, norms = _matrices(setting), _norms(setting)
    # Weights in 4 bits are not sharded.
    rounded = setting.adapter.kind == "qlora"
    frozen = numel(matrices) * FOUR_BITS if rounded else process_numel(setting, matrices) * setting.frozen
    rest = process_numel(setting, _outside_blocks(setting)) + layers * process_numel(setting, norms)
    return layers * frozen + rest * setting.frozen + process_numel(setting, trained_tensors(setting)) * FLOAT32


def gradients(setting: Setting) -> float:
    """Gradients between two backward passes [bytes]; DDP adds buckets of the same size to sum them."""
    return float(
        process_numel(setting, trained_tensors(setting)) * _trained_itemsize(setting) * (2 if setting.replicated else 1)
    )


def moments(setting: Setting) -> float:
    """AdamW's two moments [bytes]."""
    total = 0.0
    for shape, times in trained_tensors(setting).items():
        elements = shard_numel(setting, shape)
        fits = elements >= EIGHT_BIT_LEAST and elements % EIGHT_BIT_BLOCK == 0
        eight = setting.optim.states == "8bit" and fits
        total += 2 * times * elements * (1 + FLOAT32 / EIGHT_BIT_BLOCK if eight else _trained_itemsize(setting))
    return total


def moving_average(setting: Setting) -> float:
    """Moving average of the trained tensors, in float32 [bytes]."""
    return float(process_numel(setting, trained_tensors(setting)) * FLOAT32) if setting.optim.ema else 0.0


def optimizer_step(setting: Setting) -> float:
    """What AdamW needs temporarily while it updates parameters [bytes]."""
    if setting.kernels.foreach and not setting.sharded and setting.optim.states == "float32":
        return float(
            process_numel(setting, trained_tensors(setting)) * _trained_itemsize(setting)
        )  # square roots of all second moments
    return 2.0 * max(shard_numel(setting, shape) for shape in trained_tensors(setting)) * _trained_itemsize(setting)


def autocast_copies(setting: Setting, layers: int) -> float:
    """Copies of the weights of `layers` blocks that autocast caches for the backward pass [bytes]."""
    if not setting.itemsizes.cast or setting.sharded or setting.adapted:
        return 0.0
    return float(layers * numel(_matrices(setting)) * setting.itemsizes.product)


def gathered_blocks(setting: Setting) -> float:
    """Blocks that FSDP has gathered at one time, and the buffer for the next one [bytes]."""
    return (GATHERED_AT_ONCE + 1) * _block_bytes(setting) if setting.sharded else 0.0


def gathered_table(setting: Setting) -> float:
    """The gathered embedding or head, and its receive buffer [bytes]."""
    if not setting.sharded:
        return 0.0
    bytes_each = setting.frozen if setting.adapted else setting.itemsizes.product
    return 2.0 * prod(table_shape(setting)) * bytes_each


def reduced_gradients(setting: Setting, tables: int) -> float:
    """Unsharded gradients of a block and of `tables` tables, and their float32 copies for reduce-scatter [bytes]."""
    if not setting.sharded:
        return 0.0
    elements = numel(adapter_tensors(setting)) if setting.adapted else numel(block_tensors(setting))
    ends = 0 if setting.adapted else tables * prod(table_shape(setting))
    return float((elements + ends) * (setting.itemsizes.product + FLOAT32))


def gathered_backbone(setting: Setting) -> float:
    """The backbone gathered in every process, as for decoding, or its copies under autocast [bytes]."""
    layers = setting.backbone.layers
    if setting.sharded:
        return layers * _block_bytes(setting) + gathered_table(setting)
    return autocast_copies(setting, layers)


def _block_bytes(setting: Setting) -> float:
    """A gathered block, in the dtype that it computes in [bytes]."""
    if not setting.adapted:
        return float(numel(block_tensors(setting)) * setting.itemsizes.product)
    frozen = 0 if setting.adapter.kind == "qlora" else numel(block_tensors(setting)) * setting.frozen
    return float(frozen + numel(adapter_tensors(setting)) * setting.itemsizes.product)


def _trained_itemsize(setting: Setting) -> int:
    """Bytes per element of trained tensors."""
    return FLOAT32 if setting.adapted else setting.itemsizes.stored


def _outside_blocks(setting: Setting) -> Tensors:
    """Tensors outside blocks: embedding, head, the last norm."""
    return Counter({table_shape(setting): 2, (setting.backbone.width,): 1})


def _matrices(setting: Setting) -> Tensors:
    return {shape: times for shape, times in block_tensors(setting).items() if len(shape) > 1}


def _norms(setting: Setting) -> Tensors:
    return {shape: times for shape, times in block_tensors(setting).items() if len(shape) == 1}


def _multiply(tensors: Tensors, times: int) -> Tensors:
    return {shape: count * times for shape, count in tensors.items()}
