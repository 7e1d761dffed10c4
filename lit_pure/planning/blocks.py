"""What a training step keeps of the blocks for the backward pass, tensor by tensor.

Derived from `models/blocks.py` and from what torch's operations save; `tests/planning` compares it with both. Knows
positions and bytes per position. Knows nothing of weights or of how many blocks there are.
"""

from lit_pure.config.pure import BackboneConfig
from lit_pure.planning.setting import FLOAT32, Setting


def kept(setting: Setting) -> dict[str, float]:
    """What one block keeps where nothing is computed again [bytes per position], by the operation that keeps it.

    The block's input is among it: the first norm keeps it, or its copy in float32.
    """
    config, numbers, kernels = setting.backbone, setting.numbers, setting.kernels
    width, ffn, heads, product = config.width, config.ffn, config.heads, numbers.product
    mask = (kernels.mask or product) * width if config.dropout else 0
    return {
        "attention norm": norm(setting),
        "inputs of q, k, v": _copies(setting, ["q", "k", "v"]),
        "norms of q and k": 2 * (width * numbers.head_norm(kernels) + 2 * heads * FLOAT32),
        "q and k, rotated": 2 * width * product,
        "v": width * product,
        "attention": width * product + heads * FLOAT32,
        "dropout of attention": mask,
        "feed-forward norm": norm(setting),
        "inputs of gate and up": _copies(setting, ["gate", "up"]),
        "gate, silu, up, product": 4 * ffn * product,
        "dropout of feed-forward": mask,
        "adapters": _adapters(setting),
    }


def norm(setting: Setting) -> float:
    """What RMSNorm keeps [bytes per position]: input and scale; composed, its quotient, too, both in float32."""
    width, kernels = setting.backbone.width, setting.kernels
    if kernels.fused_norm:
        return width * setting.numbers.norm(kernels) + FLOAT32
    return 2 * width * FLOAT32 + FLOAT32


def kept_again(setting: Setting) -> float:
    """What stays of one block until its backward pass [bytes per position], as activation checkpointing is set."""
    config, numbers, how = setting.backbone, setting.numbers, setting.trainer.activation_checkpointing
    if how == "none":
        return sum(kept(setting).values())
    stream = config.width * numbers.stream
    if how == "block":
        return stream
    # Outputs of q, k, v, attention with its normaliser, out, down, gate and up; of adapters both.
    outputs = 6 * config.width + 2 * config.ffn
    outputs += sum(shapes(config)[name][1] + setting.adapter.rank for name in setting.targets)
    return stream + outputs * numbers.product + config.heads * FLOAT32


def backward(setting: Setting) -> float:
    """What the backward pass of a block takes at its height besides what is kept of other blocks [bytes per position].

    That is in the feed-forward part, where gradients of product, silu and up stand together, and the product is gone.
    """
    config, numbers = setting.backbone, setting.numbers
    parts = kept(setting)
    gradients = 2 * config.ffn * numbers.product + config.width * numbers.stream - parts["dropout of feed-forward"]
    if "down" in setting.targets and numbers.cast:
        gradients += config.ffn * FLOAT32  # peft takes the product to float32, autocast back again
    if setting.trainer.activation_checkpointing == "none":
        return gradients
    again = sum(parts.values())
    if setting.trainer.activation_checkpointing == "selective":
        again -= kept_again(setting) - config.width * numbers.stream  # what is kept is not computed again
    normed = numbers.norm(setting.kernels) if setting.kernels.fused_norm else FLOAT32
    if normed == numbers.stream:
        again -= config.width * numbers.stream  # the first norm keeps the block's input itself, which stands already
    return again + gradients


def forward(setting: Setting) -> float:
    """What the forward pass of a block takes at its height where it keeps nothing [bytes per position].

    That is in the feed-forward part (silu, up and product) or where queries and keys are rotated, in float32.
    """
    config, numbers = setting.backbone, setting.numbers
    inner = 3 * config.ffn * numbers.product + config.width * numbers.stream
    rotated = 2 * config.width * (3 * FLOAT32 + 2 * numbers.head_norm(setting.kernels))
    return max(inner, rotated)


def _copies(setting: Setting, readers: list[str]) -> float:
    """The output of a norm as it is kept for the products that read it: once, or once each where autocast casts it."""
    width, numbers = setting.backbone.width, setting.numbers
    if setting.adapted:  # frozen matrices need no input
        readers = [name for name in readers if name in setting.targets]
    given = numbers.norm(setting.kernels) if setting.kernels.fused_norm else numbers.stream
    count = len(readers) if given != numbers.product else min(1, len(readers))
    return float(count * width * numbers.product)


def _adapters(setting: Setting) -> float:
    """Of each adapter: its narrow middle, and dropout's output and mask of its input."""
    product, dropout = setting.numbers.product, setting.adapter.dropout
    mask = setting.kernels.mask or product
    inputs = sum(shapes(setting.backbone)[name][0] for name in setting.targets) if dropout else 0
    return float(len(setting.targets) * setting.adapter.rank * product + inputs * (product + mask))


def shapes(config: BackboneConfig) -> dict[str, tuple[int, int]]:
    """Inputs and outputs of the matrices of a block."""
    square = dict.fromkeys(("q", "k", "v", "out"), (config.width, config.width))
    wide = dict.fromkeys(("gate", "up"), (config.width, config.ffn))
    return {**square, **wide, "down": (config.ffn, config.width)}
