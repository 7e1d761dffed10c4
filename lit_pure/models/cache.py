"""The KV cache: stored keys and values, and attention over them.

Knows rows of different length in one storage, and how new queries attend to them. Knows nothing of projections or
tokens, or what the rows mean. A batch may use several caches (conditional and unconditional rows). Each cache is read
up to its own longest row, so short rows do not pay for long ones.

Shape legend: L layers, B rows of this cache, T new positions, S capacity, H heads, d head channels.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from lit_pure.config.pure import BackboneConfig


@dataclass
class KVCache:
    """Keys and values of all layers; each row has its own length.

    No row is longer than `max_length`, which the host knows without asking the device. `uniform` means that all rows
    are exactly that long. With `pad_multiple` > 1 the storage is read up to the next multiple of it, so that shapes
    repeat (CUDA graphs).
    """

    keys_LBHSd: Tensor
    values_LBHSd: Tensor
    length_B: Tensor
    max_length: int = 0
    uniform: bool = True
    pad_multiple: int = 1

    @classmethod
    def empty(cls, config: BackboneConfig, rows: int, capacity: int, like: Tensor, pad_multiple: int = 1) -> "KVCache":
        """Room for `capacity` positions in each of `rows` rows, in the dtype and on the device of `like`."""
        room = -(-capacity // pad_multiple) * pad_multiple
        shape = (config.layers, rows, config.heads, room, config.width // config.heads)
        length_B = torch.zeros(rows, dtype=torch.long, device=like.device)
        return cls(like.new_zeros(shape), like.new_zeros(shape), length_B, pad_multiple=pad_multiple)

    @property
    def capacity(self) -> int:
        """Positions that fit in a row."""
        return self.keys_LBHSd.shape[-2]

    def next_positions(self, steps: int) -> Tensor:
        """Positions (B, T) of the next ids of each row, clamped: a full row must not write past its end."""
        offsets_T = torch.arange(steps, device=self.length_B.device)
        return (self.length_B[:, None] + offsets_T).clamp(max=self.capacity - 1)

    def read_length(self, steps: int) -> int:
        """Stored positions that are read when `steps` ids follow."""
        return min(-(-(self.max_length + steps) // self.pad_multiple) * self.pad_multiple, self.capacity)

    def shape_key(self, steps: int) -> tuple[int, bool]:
        """All that decides, besides tensors, which operations run for `steps` ids."""
        return self.read_length(steps), self.max_length == 0

    def mask(self, positions_BT: Tensor) -> Tensor | None:
        """Attention mask (B, 1, T, S), True where a new position may look; None where no mask is needed."""
        steps = positions_BT.shape[1]
        if self.max_length == 0 or (steps == 1 and self.uniform and self.pad_multiple == 1):
            return None
        seen_S = torch.arange(self.read_length(steps), device=positions_BT.device)
        return (seen_S <= positions_BT[..., None])[:, None]

    def begin_step(self, steps: int) -> "CacheStep":
        """What all layers share for the next `steps` ids of each row."""
        positions_BT = self.next_positions(steps)
        # If the host knows the position, a slice is enough to write to it.
        known = self.uniform and self.pad_multiple == 1
        place = slice(self.max_length, self.max_length + steps) if known else None
        rows_B1 = torch.arange(len(positions_BT), device=positions_BT.device)[:, None]
        return CacheStep(self, positions_BT, rows_B1, place, self.read_length(steps), self.mask(positions_BT))

    def commit(self, counts: Tensor | int, most: int) -> None:
        """Keep the first `counts` of the ids that were just fed, in each row; later steps overwrite the rest.

        No count exceeds `most`. After different counts (B,), `sync_lengths` makes `max_length` exact again.
        """
        self.length_B += counts
        self.max_length = min(self.max_length + most, self.capacity)
        self.uniform = self.uniform and not isinstance(counts, Tensor)

    def sync_lengths(self, lengths: Sequence[int] | None = None) -> None:
        """Set the lengths of the rows; without `lengths`, read them from the device."""
        lengths = self.length_B.tolist() if lengths is None else lengths
        self.max_length, self.uniform = max(lengths), min(lengths) == max(lengths)

    def empty_like(self, capacity: int) -> "KVCache":
        """An empty cache of the same model with the same number of rows and `capacity` positions."""
        room = -(-capacity // self.pad_multiple) * self.pad_multiple
        layers, rows, heads, _, channels = self.keys_LBHSd.shape
        keys, values = (self.keys_LBHSd.new_zeros(layers, rows, heads, room, channels) for _ in range(2))
        return KVCache(keys, values, torch.zeros_like(self.length_B), pad_multiple=self.pad_multiple)


@dataclass(frozen=True)
class CacheStep:
    """One step of a cache: where new keys and values are written, and what new queries see."""

    cache: KVCache
    positions_BT: Tensor
    rows_B1: Tensor
    place: slice | None
    stop: int
    mask_B1TS: Tensor | None

    def attend(self, layer: int, q_BTHd: Tensor, k_BTHd: Tensor, v_BTHd: Tensor) -> Tensor:
        """Store keys and values, then attend to all that each query may see; (B, T, H, d)."""
        keys_BHSd, values_BHSd = self.cache.keys_LBHSd[layer], self.cache.values_LBHSd[layer]
        # Under autocast, norms give float32 and projections bfloat16; the cache has the weights' dtype.
        q_BHTd, k_BHTd, v_BHTd = (part.transpose(1, 2).to(keys_BHSd.dtype) for part in (q_BTHd, k_BTHd, v_BTHd))
        for store_BHSd, new_BHTd in ((keys_BHSd, k_BHTd), (values_BHSd, v_BHTd)):
            if self.place is not None:
                store_BHSd[:, :, self.place] = new_BHTd
            else:
                store_BHSd.transpose(1, 2)[self.rows_B1, self.positions_BT] = new_BHTd.transpose(1, 2)
        if self.cache.max_length == 0:  # nothing precedes the new positions: no mask, and half of the work
            mixed_BHTd = F.scaled_dot_product_attention(q_BHTd, k_BHTd, v_BHTd, is_causal=True)
        else:
            seen = (keys_BHSd[:, :, : self.stop], values_BHSd[:, :, : self.stop])
            mixed_BHTd = F.scaled_dot_product_attention(q_BHTd, *seen, attn_mask=self.mask_B1TS)
        return mixed_BHTd.transpose(1, 2)
