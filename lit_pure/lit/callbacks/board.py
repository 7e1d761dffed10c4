"""What is common to callbacks that show something: TensorBoard's writer, names of test sets, what a page can hold."""

from collections.abc import Mapping, Sequence

from lightning import Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter


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
