"""What the loss and the head take, from hidden states to gradients.

The formula is that of `models/losses.py`, which measures itself against it. Knows nothing of how states come about.
"""

from lit_pure.planning.setting import FLOAT32, Setting

ROWS = 64
"""Positions whose normalisers are computed at one time; torch copies their logits for it."""
MANY = 2**62
"""No chunks."""


def products(positions: int, vocabulary: int, width: int, chunk: int, number: int = FLOAT32) -> float:
    """Logits of a chunk, what is made of them, and gradients of all hidden states in float32 [bytes].

    That is all but the head's weights and their gradient, and what goes in. `number`: bytes of a number in products.
    """
    rows = min(chunk, positions)
    more = max(min(ROWS, rows) * vocabulary * FLOAT32, rows * vocabulary * number if number < FLOAT32 else 0)
    narrow = rows * width * number if number < FLOAT32 else 0
    return float(rows * vocabulary * FLOAT32 + more + narrow + positions * (width * FLOAT32 + 2 * FLOAT32))


def loss(setting: Setting) -> float:
    """Loss and head with the hidden states of label positions, beside the head's weights and their gradient [bytes]."""
    config, positions = setting.backbone, setting.batch * setting.labels
    given = setting.numbers.norm(setting.kernels) if setting.kernels.fused_norm else setting.numbers.stream
    states = positions * config.width * (2 * given - FLOAT32)  # the gradients are counted in float32 below
    return states + products(positions, setting.vocabulary, config.width, config.loss_chunk, setting.numbers.head)


def weights(setting: Setting) -> float:
    """The gradient of the head's weights while it is summed in float32, and copies in other numbers [bytes]."""
    table, number = setting.vocabulary * setting.backbone.width, setting.numbers.head
    copy = float(table * number) if setting.copies_head else 0.0
    if setting.adapted:
        return copy
    # Where the weights are narrow, their gradient becomes so when it is summed and the chunk is gone.
    narrow = 0.0 if setting.copies_head or number == FLOAT32 else float(table * number)
    chunk = products(min(setting.backbone.loss_chunk, setting.batch * setting.labels), setting.vocabulary, 0, MANY)
    return copy + table * FLOAT32 + max(0.0, narrow - chunk)
