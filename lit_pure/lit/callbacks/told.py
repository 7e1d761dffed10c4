"""What a LightningModule or LightningDataModule may tell our callbacks, by plain attributes.

Nothing is inherited: a module of any project that keeps such an attribute is shown, scored or timed. A callback that
has nothing to do without the attribute says so before anything runs (`require`).

Shape legend: B pictures, H W their size [px], h w grid of tokens, 3 RGB.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter


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


def set_name(sets: Sequence[str], dataloader: int) -> str:
    """The name of a test set; its number where it was given none."""
    return sets[dataloader] if dataloader < len(sets) else str(dataloader)


def black(picture: Tensor) -> Tensor:
    """The same with 0 in place of NaN and infinite values, which no file holds."""
    return picture.nan_to_num(0, 0, 0)


def blackened(shown: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """All that is shown, fit for a grid."""
    return {label: black(pictures) for label, pictures in shown.items()}


def board(trainer: Trainer) -> SummaryWriter | None:
    """TensorBoard's writer, on the process that has one; None without a TensorBoardLogger."""
    for logger in trainer.loggers:
        if isinstance(logger, TensorBoardLogger) and trainer.is_global_zero:
            experiment = logger.experiment
            assert isinstance(experiment, SummaryWriter)
            return experiment
    return None


def markdown(rows: Sequence[Mapping[str, str | None]]) -> str:
    """Rows of the same keys as a Markdown table, which is how TensorBoard shows text."""
    if not rows:
        return ""
    lines: list[list[str | None]] = [list(rows[0]), ["---"] * len(rows[0]), *(list(row.values()) for row in rows)]
    cells = ((" ".join((cell or "").replace("|", "\\|").split()) for cell in line) for line in lines)
    return "\n".join("| " + " | ".join(line) + " |" for line in cells)
