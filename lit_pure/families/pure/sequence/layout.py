"""How long an image is in a sequence: `start h w (codes newline)* end`. Knows this layout alone; imports no torch."""

OPENING = 3
"""Ids before the first code: `start h w`."""
CLOSING = 2
"""Ids behind the last code: its row's newline and the end."""


def image_length(height: int, width: int) -> int:
    """Ids of the image of a grid of codes, its first to its last."""
    return OPENING + height * (width + 1) + CLOSING - 1
