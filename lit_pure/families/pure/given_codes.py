"""Codes that are given to the restorer, as if a backbone had drawn them without a mistake.

Knows the tokenizer, and where a tile lies. Knows nothing of sampling.

Suffixes: 3 RGB, H W HQ picture [px], h w grid of codes.
"""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from lit_pure.images.geometry import pad_to_square
from lit_pure.images.io import from_bytes
from lit_pure.images.tiles import Tile
from lit_pure.models.vq import VQTokenizer


@dataclass(frozen=True)
class GivenCodes:
    """The codes of one square."""

    codes_hw: Tensor


def given_codes(tokenizer: VQTokenizer, size: int, hq_3HW: Tensor) -> Callable[[Tile], GivenCodes]:
    """For each tile of `size` px, the codes of the HQ picture (uint8) there; what lies beyond repeats its edge."""
    picture_3HW = from_bytes(hq_3HW[None])[0]

    def codes(tile: Tile) -> GivenCodes:
        part_3PQ = picture_3HW[:, tile.top : tile.top + size, tile.left : tile.left + size]
        return GivenCodes(tokenizer.encode(pad_to_square(part_3PQ, size)[None])[0])

    return codes
