"""What callbacks that show something share: TensorBoard's writer, names of test sets, pictures without NaN, tables."""

from collections.abc import Mapping, Sequence

from lightning import Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter


def set_name(sets: Sequence[str], dataloader: int) -> str:
    """The name of a test set; its number if it has none."""
    return sets[dataloader] if dataloader < len(sets) else str(dataloader)


def blacken(picture: Tensor) -> Tensor:
    """A picture with 0 in place of NaN and infinite values, which no file can hold."""
    return picture.nan_to_num(0, 0, 0)


def blacken_all(shown: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """`blacken` for each entry of `shown`."""
    return {label: blacken(pictures) for label, pictures in shown.items()}


def tensorboard_writer(trainer: Trainer) -> SummaryWriter | None:
    """TensorBoard's writer on the first process; None on others, and without a TensorBoardLogger."""
    for logger in trainer.loggers:
        if isinstance(logger, TensorBoardLogger) and trainer.is_global_zero:
            experiment = logger.experiment
            assert isinstance(experiment, SummaryWriter)
            return experiment
    return None


def markdown(rows: Sequence[Mapping[str, str | None]]) -> str:
    """Rows with the same keys as a Markdown table, which TensorBoard renders; what UTF-8 lacks is escaped."""
    if not rows:
        return ""
    lines: list[list[str | None]] = [list(rows[0]), ["---"] * len(rows[0]), *(list(row.values()) for row in rows)]
    cells = ((" ".join((cell or "").replace("|", "\\|").split()) for cell in line) for line in lines)
    text = "\n".join("| " + " | ".join(line) + " |" for line in cells)
    return text.encode("utf-8", "backslashreplace").decode("utf-8")  # a name may be any bytes
