"""Memory of the loss and the head, from hidden states to gradients.

The formula follows `models/losses.py`. Knows nothing of how hidden states are computed.
"""

from lit_pure.planning.setting import FLOAT32, Setting

ROWS = 64
"""Positions whose normalisers are computed at once; torch copies their logits for it."""
UNLIMITED = 2**62
"""A chunk of this size holds all positions."""


def logits_and_gradients(positions: int, vocabulary: int, width: int, chunk: int, number: int = FLOAT32) -> float:
    """Logits of a chunk, what is computed from them, and gradients of all hidden states in float32 [bytes].

    The head's weights, their gradient and the hidden states themselves are not counted. `number`: bytes per element in
    products.
    """
    rows = min(chunk, positions)
    more = max(min(ROWS, rows) * vocabulary * FLOAT32, rows * vocabulary * number if number < FLOAT32 else 0)
    narrow = rows * width * number if number < FLOAT32 else 0
    return float(rows * vocabulary * FLOAT32 + more + narrow + positions * (width * FLOAT32 + 2 * FLOAT32))


def loss(setting: Setting) -> float:
    """Loss and head with hidden states of label positions, without the head's weights and their gradient [bytes]."""
    config, positions = setting.backbone, setting.batch * setting.labels
    given = setting.itemsizes.norm(setting.kernels) if setting.kernels.fused_norm else setting.itemsizes.stream
    states = positions * config.width * (2 * given - FLOAT32)  # the gradients are counted in float32 below
    return states + logits_and_gradients(
        positions, setting.vocabulary, config.width, config.loss_chunk, setting.itemsizes.head
    )


def weights(setting: Setting) -> float:
    """The gradient of the head's weights while it is summed in float32, and copies in another dtype [bytes]."""
    table, number = setting.vocabulary * setting.backbone.width, setting.itemsizes.head
    copy = float(table * number) if setting.copies_head else 0.0
    if setting.adapted:
        return copy
    # Narrow weights get a narrow gradient; it is cast once it is summed, when the chunk is freed.
    narrow = 0.0 if setting.copies_head or number == FLOAT32 else float(table * number)
    chunk = logits_and_gradients(
        min(setting.backbone.loss_chunk, setting.batch * setting.labels), setting.vocabulary, 0, UNLIMITED
    )
    return copy + table * FLOAT32 + max(0.0, narrow - chunk)
