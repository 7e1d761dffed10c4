"""The attributes by which a LightningModule or LightningDataModule informs our callbacks.

Nothing is inherited: a module of any project that keeps such an attribute is shown, scored or timed. A callback that
cannot work without an attribute says so before anything runs (`require`).

Shape legend: B pictures, H W their size [px], h w grid of tokens, 3 RGB.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from lightning import Callback, LightningModule
from torch import Tensor


@runtime_checkable
class ShowsPictures(Protocol):
    """A module that keeps pictures of its last batch, in validation and test."""

    shown: dict[str, Tensor]
    """Label -> (B, 3, H, W) in [0, 1]: the first B of the batch. A new dict for each batch; empty without pictures."""


@runtime_checkable
class ShowsEntropy(ShowsPictures, Protocol):
    """A module that also keeps the entropy of each token of those pictures."""

    entropy_Bhw: Tensor
    """[nats]; empty without one. A module that also keeps `entropy_highest`, the largest that there can be (of N codes
    ln N), has all its maps on one scale, from 0 to that.
    """


@runtime_checkable
class ShowsAnswers(Protocol):
    """A module that keeps its text answers to the pictures of its last batch."""

    answers: Sequence[Mapping[str, str | None]]
    """One per picture, all with the same keys."""


@dataclass(frozen=True)
class Work:
    """The work of one training step on one process; 0 if unknown."""

    images: int = 0
    tokens: int = 0
    """Tokens that the model read, without padding."""
    flops: float = 0.0
    """Of the trained model, forward and backward [FLOP]; `flops.transformer_training` has the usual formula."""


@runtime_checkable
class ReportsWork(Protocol):
    """A module that keeps the work of its last training step."""

    work: Work


@runtime_checkable
class MarksHandover(Protocol):
    """A LightningDataModule that notes when its loader delivered a batch."""

    handed_over: float
    """`time.perf_counter()` at that moment [s]."""


def require(callback: Callback, module: LightningModule, protocol: type[Any]) -> None:
    """Raises TypeError if the module lacks the attributes that a callback needs."""
    if not isinstance(module, protocol):
        wanted = sorted({name for part in protocol.__mro__ for name in getattr(part, "__annotations__", {})})
        raise TypeError(
            f"{type(callback).__name__} needs {type(module).__name__} to keep {' and '.join(wanted)}: set "
            f"{'them' if len(wanted) > 1 else 'it'} in __init__ and after each batch as "
            f"{protocol.__module__}.{protocol.__name__} says, or leave the callback out"
        )
