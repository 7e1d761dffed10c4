"""The memory of one training process as a sum of parts, at each moment at which it may reach its peak.

Knows moments, parts and the reserve, whatever is trained. What each part takes is a subclass' (`memory.py` for a
next-token backbone, `scale_memory.py` for NSARM's networks).

Assumptions: CUDA's context, libraries and communication buffers take `CONTEXT`, and fragmentation wastes a share of
`FRAGMENTATION` of all tensors. 1 GB is 10^9 bytes; a device has at least as many GB as its name says. What
`trainer.compile` saves is not counted.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Protocol, Self

GB = 1e9
CONTEXT = 1.5 * GB
"""CUDA's context with loaded kernels, work spaces of cuBLAS and cuDNN, buffers of NCCL."""
FRAGMENTATION = 0.05
"""Of all tensors."""
MOST = 4096
"""Samples in the largest micro-batch that is tried."""

DECODING = ("validation", "test")
"""Moments at which pictures are decoded; the size of the micro-batch does not matter then."""
PARTS = (
    "parameters", "gradients", "AdamW's moments", "moving average", "tokenizer and estimator",
    "tokenizer and text encoder", "gathered pieces", "activations", "transformation network", "a block's passes",
    "loss and head", "AdamW's step", "pictures on the way", "decoding", "reserve",
)  # fmt: skip
"""All parts, in the order in which they are shown."""


class Sizes(Protocol):
    """What is shown of a setting, whatever is trained."""

    @property
    def batch(self) -> int: ...

    @property
    def gpus(self) -> int: ...

    @property
    def length(self) -> int: ...

    @property
    def labels(self) -> int: ...

    @property
    def vocabulary(self) -> int: ...

    @property
    def outputs(self) -> str:
        """What the numbers of `vocabulary` are, for example ids."""

    @property
    def trained(self) -> str:
        """What is cut into pieces, for example backbone."""

    @property
    def shown(self) -> int: ...

    @property
    def tested(self) -> int: ...

    @property
    def sharded(self) -> bool: ...

    @property
    def notes(self) -> tuple[str, ...]: ...


@dataclass(frozen=True)
class Plan(ABC):
    """The memory of a process with a setting [bytes]."""

    setting: Sizes

    @property
    @abstractmethod
    def moments(self) -> dict[str, dict[str, float]]:
        """Moment -> part -> bytes, without the reserve."""

    @property
    @abstractmethod
    def loss_and_head(self) -> float:
        """Loss and head of one sample in float32, without the head's weights and their gradient."""

    def peak_moment(self, decodes: bool) -> str:
        """The moment that takes the most, of those that decode pictures or of the others; "" if there is none."""
        found = [name for name in self.moments if (name in DECODING) == decodes]
        return max(found, key=lambda name: self.total(name)) if found else ""

    def total(self, moment: str) -> float:
        """What a device needs at a moment; 0 at ""."""
        parts = self.moments.get(moment)
        return sum(parts.values()) + self.reserve(moment) if parts else 0.0

    @cached_property
    def training(self) -> float:
        """Peak of a training step."""
        return self.total(self.peak_moment(decodes=False))

    @cached_property
    def decoding(self) -> float:
        """Peak of decoding, in validation or test."""
        return self.total(self.peak_moment(decodes=True))

    @property
    def peak(self) -> float:
        """What a device needs."""
        return max(self.training, self.decoding)

    def reserve(self, moment: str) -> float:
        """What is needed besides tensors at a moment."""
        return CONTEXT + FRAGMENTATION * sum(self.moments[moment].values())

    def with_batch(self, batch: int) -> Self:
        """The same with another micro-batch."""
        return replace(self, setting=replace(self.setting, batch=batch))  # type: ignore[type-var]

    def largest_batch(self, room: float, most: int = MOST) -> int:
        """The largest micro-batch, at most `most`, whose steps fit into `room` bytes; 0 if not even one sample fits."""
        low, high = 0, most
        while low < high:
            middle = (low + high + 1) // 2
            fits = self.with_batch(middle).training <= room
            low, high = (middle, high) if fits else (low, middle - 1)
        return low
