"""Keys and values of what a decoder has read: storage, and attention over it.

Knows rows of different length in one storage, and how new queries attend to them. Knows nothing of projections, tokens
or of what the rows stand for. A batch may consist of several caches (conditional and unconditional rows): each is read
as far as its own longest row, so short rows never pay for long ones.

Shape legend: L layers, B rows of this cache, T new positions, S room, H heads, d head channels.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from lit_pure.config.pure import BackboneConfig


@dataclass
class KVCache:
    """Room for the keys and values of all layers; each row has its own length.

    `reach` is a length that no row exceeds, known without asking the device, and `even` says that all rows are exactly
    that long. With `grain` > 1 storage is read up to the next multiple of it, so that shapes repeat (CUDA graphs).
    """

    keys_LBHSd: Tensor
    values_LBHSd: Tensor
    length_B: Tensor
    reach: int = 0
    even: bool = True
    grain: int = 1

    @classmethod
    def empty(cls, config: BackboneConfig, rows: int, capacity: int, like: Tensor, grain: int = 1) -> "KVCache":
        """Room for `capacity` positions in each of `rows` rows, in the dtype and on the device of `like`."""
        room = -(-capacity // grain) * grain
        shape = (config.layers, rows, config.heads, room, config.width // config.heads)
        length_B = torch.zeros(rows, dtype=torch.long, device=like.device)
        return cls(like.new_zeros(shape), like.new_zeros(shape), length_B, grain=grain)

    @property
    def capacity(self) -> int:
        """Positions that a row has room for."""
        return self.keys_LBHSd.shape[-2]

    def next_positions(self, steps: int) -> Tensor:
        """Positions (B, T) of the next ids of each row. A row at the end that takes nothing must not write past it."""
        offsets_T = torch.arange(steps, device=self.length_B.device)
        return (self.length_B[:, None] + offsets_T).clamp(max=self.capacity - 1)

    def read(self, steps: int) -> int:
        """How far storage is read when `steps` ids follow."""
        return min(-(-(self.reach + steps) // self.grain) * self.grain, self.capacity)

    def shape(self, steps: int) -> tuple[int, bool]:
        """What, besides tensors, decides which operations `steps` ids cause."""
        return self.read(steps), self.reach == 0

    def mask(self, positions_BT: Tensor) -> Tensor | None:
        """What each new position may see, (B, 1, T, S); None where that needs no saying."""
        steps = positions_BT.shape[1]
        if self.reach == 0 or (steps == 1 and self.even and self.grain == 1):
            return None
        seen_S = torch.arange(self.read(steps), device=positions_BT.device)
        return (seen_S <= positions_BT[..., None])[:, None]

    def visit(self, steps: int) -> "Visit":
        """Everything about the next `steps` ids of each row that is the same in all layers."""
        positions_BT = self.next_positions(steps)
        # Where the host knows the place, writing to it needs no indices.
        known = self.even and self.grain == 1
        place = slice(self.reach, self.reach + steps) if known else None
        rows_B1 = torch.arange(len(positions_BT), device=positions_BT.device)[:, None]
        return Visit(self, positions_BT, rows_B1, place, self.read(steps), self.mask(positions_BT))

    def take(self, counts: Tensor | int, most: int) -> None:
        """The first `counts` of the ids just fed now belong to each row; the others are overwritten later.

        No count exceeds `most`. Where rows take different counts (B,), `settle` makes `reach` tight again.
        """
        self.length_B += counts
        self.reach = min(self.reach + most, self.capacity)
        self.even = self.even and not isinstance(counts, Tensor)

    def settle(self, lengths: Sequence[int] | None = None) -> None:
        """Set how long the rows are; the device is asked where `lengths` are not given."""
        lengths = self.length_B.tolist() if lengths is None else lengths
        self.reach, self.even = max(lengths), min(lengths) == max(lengths)

    def sibling(self, capacity: int) -> "KVCache":
        """An empty cache for as many rows of the same model, with room for `capacity` positions."""
        room = -(-capacity // self.grain) * self.grain
        layers, rows, heads, _, channels = self.keys_LBHSd.shape
        keys, values = (self.keys_LBHSd.new_zeros(layers, rows, heads, room, channels) for _ in range(2))
        return KVCache(keys, values, torch.zeros_like(self.length_B), grain=self.grain)


@dataclass(frozen=True)
class Visit:
    """One feeding of a cache: where new keys and values go, and what new queries see."""

    cache: KVCache
    positions_BT: Tensor
    rows_B1: Tensor
    place: slice | None
    stop: int
    mask_B1TS: Tensor | None

    def attend(self, layer: int, q_BTHd: Tensor, k_BTHd: Tensor, v_BTHd: Tensor) -> Tensor:
        """Store keys and values, then mix the values of all that each query may see (B, T, H, d)."""
        keys_BHSd, values_BHSd = self.cache.keys_LBHSd[layer], self.cache.values_LBHSd[layer]
        # Under autocast, norms give float32 and projections bfloat16; the cache has the weights' dtype.
        q_BHTd, k_BHTd, v_BHTd = (part.transpose(1, 2).to(keys_BHSd.dtype) for part in (q_BTHd, k_BTHd, v_BTHd))
        for store_BHSd, new_BHTd in ((keys_BHSd, k_BHTd), (values_BHSd, v_BHTd)):
            if self.place is not None:
                store_BHSd[:, :, self.place] = new_BHTd
            else:
                store_BHSd.transpose(1, 2)[self.rows_B1, self.positions_BT] = new_BHTd.transpose(1, 2)
        if self.cache.reach == 0:  # nothing stands before the new positions, which saves the mask and half of the work
            mixed_BHTd = F.scaled_dot_product_attention(q_BHTd, k_BHTd, v_BHTd, is_causal=True)
        else:
            seen = (keys_BHSd[:, :, : self.stop], values_BHSd[:, :, : self.stop])
            mixed_BHTd = F.scaled_dot_product_attention(q_BHTd, *seen, attn_mask=self.mask_B1TS)
        return mixed_BHTd.transpose(1, 2)
