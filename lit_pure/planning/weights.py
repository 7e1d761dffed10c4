"""What stands throughout a training: parameters, gradients, AdamW's moments, the average; and pieces that are gathered.

Derived from `models/next_token.py`, `models/adapters.py`, `lit/distributed/sharding.py`, torch's AdamW and FSDP2, and
torchao's 8-bit AdamW. Knows shapes of tensors and how they are cut. Knows nothing of activations.
"""

from collections import Counter
from math import ceil, prod

from lit_pure.planning.blocks import shapes
from lit_pure.planning.setting import FLOAT32, Setting

Shape = tuple[int, ...]

EIGHT_BIT_LEAST, EIGHT_BIT_BLOCK = 4096, 256
"""torchao keeps a moment in 8 bits where a tensor has so many numbers, a multiple of the block; else in its own."""
FOUR_BITS = (4 + 8 / 64 + 32 / (64 * 256)) / 8
"""Bytes of a weight in NF4: a scale of 8 bits for 64 weights, one of 32 for 256 scales (arXiv 2305.14314)."""
FLIGHT = 2
"""Units of FSDP2 that are whole at one time: the one that computes, and the one that comes next."""


Tensors = dict[Shape, int]
"""How many tensors there are of each shape."""


def block(setting: Setting) -> Tensors:
    """A block's tensors, without adapters."""
    config = setting.backbone
    found: Counter[Shape] = Counter((outputs, inputs) for inputs, outputs in shapes(config).values())
    found[config.width,] += 2  # of RMSNorm
    found[config.width // config.heads,] += 4  # weights and biases of the norms of queries and keys
    return found


def table(setting: Setting) -> Shape:
    """Shape of the embedding, and of the head."""
    return (setting.vocabulary, setting.backbone.width)


def adapters(setting: Setting) -> Tensors:
    """A block's adapters."""
    rank = setting.adapter.rank
    sizes = [shapes(setting.backbone)[name] for name in setting.targets]
    return Counter(shape for inputs, outputs in sizes for shape in ((rank, inputs), (outputs, rank)))


def trained(setting: Setting) -> Tensors:
    """All that the optimizer changes."""
    layers = setting.backbone.layers
    if setting.adapted:
        return _times(adapters(setting), layers)
    return {**_times(block(setting), layers), table(setting): 2, (setting.backbone.width,): 2 * layers + 1}


def count(tensors: Tensors) -> int:
    """Numbers in all of them."""
    return sum(prod(shape) * times for shape, times in tensors.items())


def piece(setting: Setting, shape: Shape) -> int:
    """Numbers of a tensor that one process holds: rows are dealt out, as evenly as they can be."""
    rows, *others = shape
    return ceil(rows / setting.gpus) * prod(others) if setting.sharded else prod(shape)


def held(setting: Setting, tensors: Tensors) -> int:
    """Numbers of all of them that one process holds."""
    return sum(piece(setting, shape) * times for shape, times in tensors.items())


def parameters(setting: Setting) -> float:
    """Parameters, frozen ones included [bytes]."""
    if not setting.adapted:
        return float(held(setting, trained(setting)) * setting.numbers.stored)
    layers = setting.backbone.layers
    matrices, norms = _matrices(setting), _norms(setting)
    # What is in 4 bits is not cut.
    rounded = setting.adapter.kind == "qlora"
    frozen = count(matrices) * FOUR_BITS if rounded else held(setting, matrices) * setting.frozen
    beside = held(setting, _ends(setting)) + layers * held(setting, norms)
    return layers * frozen + beside * setting.frozen + held(setting, trained(setting)) * FLOAT32


def gradients(setting: Setting) -> float:
    """Gradients from a backward pass to the next [bytes]; those of several copies are summed in buckets beside."""
    return float(held(setting, trained(setting)) * _stored(setting) * (2 if setting.replicated else 1))


def moments(setting: Setting) -> float:
    """AdamW's two moments [bytes]."""
    found = 0.0
    for shape, times in trained(setting).items():
        numbers = piece(setting, shape)
        fits = numbers >= EIGHT_BIT_LEAST and numbers % EIGHT_BIT_BLOCK == 0
        eight = setting.optim.states == "8bit" and fits
        found += 2 * times * numbers * (1 + FLOAT32 / EIGHT_BIT_BLOCK if eight else _stored(setting))
    return found


def average(setting: Setting) -> float:
    """The moving average of what is trained, in float32 [bytes]."""
    return float(held(setting, trained(setting)) * FLOAT32) if setting.optim.ema else 0.0


def update(setting: Setting) -> float:
    """What AdamW takes for itself while it changes parameters [bytes]."""
    if setting.kernels.foreach and not setting.sharded and setting.optim.states == "float32":
        return float(held(setting, trained(setting)) * _stored(setting))  # square roots of all second moments
    return 2.0 * max(piece(setting, shape) for shape in trained(setting)) * _stored(setting)


def copies(setting: Setting, layers: int) -> float:
    """Weights of so many blocks in the numbers of autocast, which keeps them for the backward pass [bytes]."""
    if not setting.numbers.cast or setting.sharded or setting.adapted:
        return 0.0
    return float(layers * count(_matrices(setting)) * setting.numbers.product)


def gathered(setting: Setting) -> float:
    """Blocks that are whole at one time, and the buffer that the next one arrives in [bytes]."""
    return (FLIGHT + 1) * _unit(setting) if setting.sharded else 0.0


def gathered_table(setting: Setting) -> float:
    """Embedding or head, whole, and the buffer that it arrives in [bytes]."""
    if not setting.sharded:
        return 0.0
    bytes_each = setting.frozen if setting.adapted else setting.numbers.product
    return 2.0 * prod(table(setting)) * bytes_each


def reduced(setting: Setting, tables: int) -> float:
    """Gradients of a whole block, and in float32 on their way to who holds their piece; of so many tables likewise."""
    if not setting.sharded:
        return 0.0
    numbers = count(adapters(setting)) if setting.adapted else count(block(setting))
    ends = 0 if setting.adapted else tables * prod(table(setting))
    return float((numbers + ends) * (setting.numbers.product + FLOAT32))


def whole(setting: Setting) -> float:
    """The backbone gathered on every process, as for decoding, or its copies under autocast [bytes]."""
    layers = setting.backbone.layers
    if setting.sharded:
        return layers * _unit(setting) + gathered_table(setting)
    return copies(setting, layers)


def _unit(setting: Setting) -> float:
    """A block, whole, in the numbers that it computes in [bytes]."""
    if not setting.adapted:
        return float(count(block(setting)) * setting.numbers.product)
    frozen = 0 if setting.adapter.kind == "qlora" else count(block(setting)) * setting.frozen
    return float(frozen + count(adapters(setting)) * setting.numbers.product)


def _stored(setting: Setting) -> int:
    """Bytes of a number that is trained."""
    return FLOAT32 if setting.adapted else setting.numbers.stored


def _ends(setting: Setting) -> Tensors:
    """What is no part of a block: embedding, head, the last norm."""
    return Counter({table(setting): 2, (setting.backbone.width,): 1})


def _matrices(setting: Setting) -> Tensors:
    return {shape: times for shape, times in block(setting).items() if len(shape) > 1}


def _norms(setting: Setting) -> Tensors:
    return {shape: times for shape, times in block(setting).items() if len(shape) == 1}


def _times(tensors: Tensors, times: int) -> Tensors:
    return {shape: found * times for shape, found in tensors.items()}
