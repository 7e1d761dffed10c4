"""What a LightningModule or LightningDataModule may tell our callbacks, by plain attributes.

Nothing is inherited: a module of any project that keeps such an attribute is shown, scored or timed. A callback that
has nothing to do without the attribute says so before anything runs (`require`).

Shape legend: B pictures, H W their size [px], h w grid of tokens, 3 RGB.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from lightning import Callback, LightningModule
from torch import Tensor


@runtime_checkable
class ShowsPictures(Protocol):
    """A module that keeps pictures of the batch it saw last, in validation and test."""

    shown: dict[str, Tensor]
    """Label -> (B, 3, H, W) in [0, 1]: the first B of the batch; a new one each time, empty where there are none."""


@runtime_checkable
class ShowsEntropy(ShowsPictures, Protocol):
    """A module that also keeps how undecided it was at each token of those pictures."""

    entropy_Bhw: Tensor
    """[nats]; empty where there is none."""


@runtime_checkable
class ShowsAnswers(Protocol):
    """A module that keeps what it wrote to the pictures of the batch it saw last."""

    answers: Sequence[Mapping[str, str | None]]
    """One per picture, all with the same keys."""


@dataclass(frozen=True)
class Work:
    """What one training step took on one process; 0 is what nobody knows."""

    images: int = 0
    tokens: int = 0
    """That the model read, without padding."""
    flops: float = 0.0
    """Of the trained model, forward and backward [FLOP]; `flops.transformer_training` has the usual formula."""


@runtime_checkable
class TellsWork(Protocol):
    """A module that says what its last training step took."""

    work: Work


@runtime_checkable
class HandsOver(Protocol):
    """A LightningDataModule that notes when the loader handed it a batch."""

    handed_over: float
    """`time.perf_counter()` at that moment [s]."""


def require(callback: Callback, module: LightningModule, told: type[Any]) -> None:
    """Raises TypeError where the module lacks what a callback is there for."""
    if not isinstance(module, told):
        wanted = sorted({name for part in told.__mro__ for name in getattr(part, "__annotations__", {})})
        raise TypeError(
            f"{type(callback).__name__} needs {type(module).__name__} to keep {' and '.join(wanted)}: set "
            f"{'them' if len(wanted) > 1 else 'it'} in __init__ and after each batch as "
            f"{told.__module__}.{told.__name__} says, or leave the callback out"
        )
