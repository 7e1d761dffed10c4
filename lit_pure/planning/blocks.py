"""Activations of one block: what a training step saves for the backward pass, tensor by tensor.

Derived from `models/blocks.py` and from what torch's operations save; `tests/planning` compares it with both. Knows
positions and bytes per position. Knows nothing of weights or of the number of blocks.
"""

from lit_pure.config.pure import BackboneConfig
from lit_pure.planning.setting import FLOAT32, Setting


def saved_by_operation(setting: Setting) -> dict[str, float]:
    """What one block saves without activation checkpointing [bytes per position], by the operation that saves it.

    The block's input is included: the first norm saves it, or its copy in float32.
    """
    config, itemsizes, kernels = setting.backbone, setting.itemsizes, setting.kernels
    width, ffn, heads, product = config.width, config.ffn, config.heads, itemsizes.product
    mask = (kernels.mask or product) * width if config.dropout else 0
    return {
        "attention norm": saved_by_norm(setting),
        "inputs of q, k, v": _saved_inputs(setting, ["q", "k", "v"]),
        "norms of q and k": 2 * (width * itemsizes.head_norm(kernels) + 2 * heads * FLOAT32),
        "q and k, rotated": 2 * width * product,
        "v": width * product,
        "attention": width * product + heads * FLOAT32,
        "dropout of attention": mask,
        "feed-forward norm": saved_by_norm(setting),
        "inputs of gate and up": _saved_inputs(setting, ["gate", "up"]),
        "gate, silu, up, product": 4 * ffn * product,
        "dropout of feed-forward": mask,
        "adapters": _saved_by_adapters(setting),
    }


def saved_by_norm(setting: Setting) -> float:
    """What RMSNorm saves [bytes per position]: input and scale; if composed, also its quotient, both in float32."""
    width, kernels = setting.backbone.width, setting.kernels
    if kernels.fused_norm:
        return width * setting.itemsizes.norm(kernels) + FLOAT32
    return 2 * width * FLOAT32 + FLOAT32


def saved_until_backward(setting: Setting) -> float:
    """What one block saves until its backward pass, with the set activation checkpointing [bytes per position]."""
    config, itemsizes, how = setting.backbone, setting.itemsizes, setting.trainer.activation_checkpointing
    if how == "none":
        return sum(saved_by_operation(setting).values())
    stream = config.width * itemsizes.stream
    if how == "block":
        return stream
    # Outputs of q, k, v, attention with its normaliser, out, down, gate and up; both outputs of each adapter.
    outputs = 6 * config.width + 2 * config.ffn
    outputs += sum(matrix_shapes(config)[name][1] + setting.adapter.rank for name in setting.targets)
    return stream + outputs * itemsizes.product + config.heads * FLOAT32


def backward_peak(setting: Setting) -> float:
    """Peak of a block's backward pass, without what other blocks have saved [bytes per position].

    The peak is in the feed-forward part: gradients of product, silu and up exist together, and the product is freed.
    """
    config, itemsizes = setting.backbone, setting.itemsizes
    parts = saved_by_operation(setting)
    gradients = 2 * config.ffn * itemsizes.product + config.width * itemsizes.stream - parts["dropout of feed-forward"]
    if "down" in setting.targets and itemsizes.cast:
        gradients += config.ffn * FLOAT32  # peft casts the product to float32, autocast casts it back
    if setting.trainer.activation_checkpointing == "none":
        return gradients
    again = sum(parts.values())
    if setting.trainer.activation_checkpointing == "selective":
        again -= saved_until_backward(setting) - config.width * itemsizes.stream  # what is saved is not recomputed
    normed = itemsizes.norm(setting.kernels) if setting.kernels.fused_norm else FLOAT32
    if normed == itemsizes.stream:
        again -= (
            config.width * itemsizes.stream
        )  # the first norm saves the block's input itself, which is counted already
    return again + gradients


def forward_peak(setting: Setting) -> float:
    """Peak of a block's forward pass that saves nothing [bytes per position].

    The peak is in the feed-forward part (silu, up and product), or where queries and keys are rotated in float32.
    """
    config, itemsizes = setting.backbone, setting.itemsizes
    inner = 3 * config.ffn * itemsizes.product + config.width * itemsizes.stream
    rotated = 2 * config.width * (3 * FLOAT32 + 2 * itemsizes.head_norm(setting.kernels))
    return max(inner, rotated)


def _saved_inputs(setting: Setting, readers: list[str]) -> float:
    """A norm's output as saved for the products that read it: once, or once for each product if autocast casts it."""
    width, itemsizes = setting.backbone.width, setting.itemsizes
    if setting.adapted:  # frozen matrices do not need their input
        readers = [name for name in readers if name in setting.targets]
    given = itemsizes.norm(setting.kernels) if setting.kernels.fused_norm else itemsizes.stream
    count = len(readers) if given != itemsizes.product else min(1, len(readers))
    return float(count * width * itemsizes.product)


def _saved_by_adapters(setting: Setting) -> float:
    """For each adapter: its low-rank activation, and dropout's output and mask of its input."""
    product, dropout = setting.itemsizes.product, setting.adapter.dropout
    mask = setting.kernels.mask or product
    inputs = sum(matrix_shapes(setting.backbone)[name][0] for name in setting.targets) if dropout else 0
    return float(len(setting.targets) * setting.adapter.rank * product + inputs * (product + mask))


def matrix_shapes(config: BackboneConfig) -> dict[str, tuple[int, int]]:
    """Name of each matrix of a block -> its inputs and outputs."""
    square = dict.fromkeys(("q", "k", "v", "out"), (config.width, config.width))
    wide = dict.fromkeys(("gate", "up"), (config.width, config.ffn))
    return {**square, **wide, "down": (config.ffn, config.width)}
