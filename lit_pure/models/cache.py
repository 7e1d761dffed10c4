"""The KV cache: stored keys and values, and what one step writes and reads.

Knows rows of different length in one storage. Knows nothing of projections or tokens, what the rows mean, or how
attention is computed (`models/attention.py`). A batch may use several caches (conditional and unconditional rows). Each
cache is read up to its own longest row, so short rows do not pay for long ones.

Shape legend: L layers, B rows of this cache, T new positions, S capacity, H heads, d head channels.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
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
        keys, values = (_storage(shape, like, config.attention == "varlen") for _ in range(2))
        return cls(keys, values, length_B, pad_multiple=pad_multiple)

    @property
    def capacity(self) -> int:
        """Positions that fit in a row."""
        return self.keys_LBHSd.shape[-2]

    @cached_property
    def layers(self) -> list[tuple[Tensor, Tensor]]:
        """Views (B, H, S, d) of each layer's keys and values."""
        return list(zip(self.keys_LBHSd.unbind(), self.values_LBHSd.unbind(), strict=True))

    def next_positions(self, steps: int) -> Tensor:
        """Positions (B, T) of the next ids of each row, clamped: a full row must not write past its end."""
        offsets_T = torch.arange(steps, device=self.length_B.device)
        return (self.length_B[:, None] + offsets_T).clamp(max=self.capacity - 1)

    def read_length(self, steps: int) -> int:
        """Stored positions that are read when `steps` ids follow."""
        return min(-(-(self.max_length + steps) // self.pad_multiple) * self.pad_multiple, self.capacity)

    def has_room(self, steps: int) -> bool:
        """Whether `steps` ids are sure to fit behind every row."""
        return self.max_length + steps <= self.capacity

    def shape_key(self, steps: int) -> tuple[int, bool, bool]:
        """All that decides, besides tensors, which operations run for `steps` ids."""
        return self.read_length(steps), self.max_length == 0, self.has_room(steps)

    def mask(self, positions_BT: Tensor) -> Tensor | None:
        """Attention mask (B, 1, T, S), True where a new position may look; None where no mask is needed."""
        steps = positions_BT.shape[1]
        if self.max_length == 0 or (steps == 1 and self.uniform and self.pad_multiple == 1):
            return None
        seen_S = torch.arange(self.read_length(steps), device=positions_BT.device)
        return (seen_S <= positions_BT[..., None])[:, None]

    def begin_step(self, steps: int) -> "CacheStep":
        """What all layers share for the next `steps` ids of each row."""
        # If the host knows the position, a slice is enough to write to it.
        known = self.uniform and self.pad_multiple == 1
        place = slice(self.max_length, self.max_length + steps) if known else None
        return CacheStep(self, steps, place, self.read_length(steps))

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
        packed = self.keys_LBHSd.stride(2) < self.keys_LBHSd.stride(3)
        shape = (layers, rows, heads, room, channels)
        keys, values = (_storage(shape, self.keys_LBHSd, packed) for _ in range(2))
        return KVCache(keys, values, torch.zeros_like(self.length_B), pad_multiple=self.pad_multiple)


@dataclass(frozen=True)
class CacheStep:
    """One step of a cache: where new keys and values are written, and what new queries may see.

    What only some backends of attention need is computed when the first layer asks for it, once for all layers.
    """

    cache: KVCache
    steps: int
    """New positions T of each row."""
    place: slice | None
    """Where the new positions are, if the host knows it for all rows."""
    stop: int
    """Stored positions that are read, new ones included."""

    @property
    def first(self) -> bool:
        """Whether nothing precedes the new positions in any row."""
        return self.cache.max_length == 0

    @property
    def dtype(self) -> torch.dtype:
        """That of stored keys and values."""
        return self.cache.keys_LBHSd.dtype

    @property
    def has_room(self) -> bool:
        """Whether all new positions are sure to lie within their rows."""
        return self.cache.has_room(self.steps)

    @cached_property
    def positions_BT(self) -> Tensor:
        """`KVCache.next_positions`; asked for before the rows grow."""
        return self.cache.next_positions(self.steps)

    @cached_property
    def mask_B1TS(self) -> Tensor | None:
        """`KVCache.mask` of the new positions."""
        return self.cache.mask(self.positions_BT)

    @cached_property
    def before_B(self) -> Tensor:
        """Positions that were stored before in each row, int32."""
        return self.cache.length_B.to(torch.int32)

    @cached_property
    def after_B(self) -> Tensor:
        """Positions of each row with the new ones, int32."""
        return self.before_B + self.steps

    def store(self, layer: int, k_BTHd: Tensor, v_BTHd: Tensor) -> None:
        """Write keys and values of the new positions."""
        for stored_BHSd, new_BTHd in zip(self.cache.layers[layer], (k_BTHd, v_BTHd), strict=True):
            if self.place is not None:
                stored_BHSd.narrow(2, self.place.start, self.steps).copy_(new_BTHd.transpose(1, 2))
            else:
                stored_BHSd.transpose(1, 2)[self._rows_B1, self.positions_BT] = new_BTHd

    def seen(self, layer: int) -> tuple[Tensor, Tensor]:
        """Views (B, H, S, d) of the keys and values that are read, up to `stop`."""
        keys_BHSd, values_BHSd = self.cache.layers[layer]
        return keys_BHSd.narrow(2, 0, self.stop), values_BHSd.narrow(2, 0, self.stop)

    @cached_property
    def _rows_B1(self) -> Tensor:
        return torch.arange(len(self.positions_BT), device=self.positions_BT.device)[:, None]


def _storage(shape: tuple[int, ...], like: Tensor, packed: bool) -> Tensor:
    """Zeros (L, B, H, S, d); packed, the heads of a position lie together, so that rows follow one another as one."""
    if not packed:
        return like.new_zeros(shape)
    layers, rows, heads, room, channels = shape
    return like.new_zeros(layers, rows, room, heads, channels).transpose(2, 3)
