"""The least time in which a device can decode by scales: for each pass, the slower of its arithmetic and its reading.

Knows sizes, grids, and which scales a pass reads. Knows no device: its speeds are arguments. Of a pass it counts the
products of the blocks and of the head, attention, the weights of the blocks and the stored keys and values; captions'
keys and values are made once. Embedding, norms and sampling are not counted. Imports no torch.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from lit_pure.config.next_scale import NextScaleConfig
from lit_pure.models.scales import Grid, tokens


@dataclass(frozen=True)
class Pass:
    """What one pass over a batch takes."""

    flops: float
    read: float
    """Bytes read or written."""


def passes(
    config: NextScaleConfig,
    grids: Sequence[Grid],
    known: int,
    words: int,
    itemsize: int,
    pictures: int = 1,
    merged: bool = True,
) -> list[Pass]:
    """The passes that decode a batch.

    Args:
        config: sizes of the transformer.
        grids: of all scales.
        known: scales, from the first, that are not drawn.
        words: tokens of a caption.
        itemsize: bytes of a weight, and of an element of keys and values.
        pictures: of the batch.
        merged: known scales and the first drawn one are read in one pass; else each scale has its own, and makes keys
            and values of the captions anew.
    """
    sizes = [tokens([grid]) for grid in grids]
    first = min(known + 1, len(grids)) if merged else 1
    starts = [0, *range(first, len(grids) + 1)]
    width, layers, found = config.width, config.layers, []
    block = 6 * width**2 + 2 * width * config.ffn
    caption = 2 * width**2
    for start, stop in pairwise(starts):
        new, seen = sum(sizes[start:stop]), sum(sizes[:stop])
        pairs = sum(sizes[scale] * sum(sizes[: scale + 1]) for scale in range(start, stop))
        products = block * new + 2 * width * (pairs + words * new)
        products += caption * words if start == 0 or not merged else 0
        head = 2 * config.bits * width * sizes[stop - 1]
        kept = 2 * width * (seen + words)
        read = itemsize * layers * (block + caption + pictures * kept)
        found.append(Pass(2.0 * pictures * (layers * products + head), float(read)))
    return found


def floor_seconds(found: Sequence[Pass], flops_per_second: float, bytes_per_second: float) -> float:
    """The time of all passes [s]."""
    return sum(max(one.flops / flops_per_second, one.read / bytes_per_second) for one in found)
