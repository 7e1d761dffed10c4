"""What a run leaves in TensorBoard besides its pictures: curves without Lightning's `epoch`, and a row of HPARAMS.

Knows TensorBoard's events. Knows nothing of what is measured: settings and figures come from the experiment and the
summary.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from lightning.pytorch.loggers import Logger, TensorBoardLogger
from omegaconf import OmegaConf
from torch.utils.tensorboard.summary import hparams

from lit_pure.config.experiment import Experiment
from lit_pure.config.layers import flat

EPOCH = "epoch"
"""Lightning adds it to whatever is logged; a stream without an end has one epoch."""
FIGURES = ("test/", "train/loss_last")
"""The beginnings of the figures of a summary that stand beside the settings of a run."""


class Board(TensorBoardLogger):
    """Lightning's logger, without a chart of `epoch`."""

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Write all but the epoch."""
        super().log_metrics({key: value for key, value in metrics.items() if key != EPOCH}, step)


def log_hyperparameters(
    loggers: Sequence[Logger], experiment: Experiment, summary: Mapping[str, Any], step: int
) -> None:
    """Write the row of a finished run for TensorBoard's HPARAMS: all its settings, and its final figures.

    Figures are scalars of the run, too; where nothing was trained they are its only ones.
    """
    settings = dict(flat(OmegaConf.to_container(OmegaConf.structured(experiment)), ""))
    plain = {key: value for key, value in settings.items() if isinstance(value, bool | int | float | str)}
    figures = {key: float(value) for key, value in summary.items() if key.startswith(FIGURES)}
    for board in (logger for logger in loggers if isinstance(logger, TensorBoardLogger)):
        for event in hparams(plain, dict.fromkeys(figures, 0.0)):
            board.experiment._get_file_writer().add_summary(event)
        logged = {key: value for key, value in figures.items() if not key.startswith("test/")}
        board.log_metrics(logged, step)
        board.save()
