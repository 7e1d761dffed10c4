"""What a run leaves in TensorBoard besides its pictures: curves without Lightning's `epoch`, and a row of HPARAMS.

Knows TensorBoard's events. Knows nothing of what is measured: settings and figures come from the experiment and the
summary.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger
from omegaconf import OmegaConf
from tensorboard.plugins.hparams.summary_v2 import hparams_pb
from torch.utils.tensorboard.summary import hparams

from lit_pure.config.annotated import text
from lit_pure.config.experiment import Experiment
from lit_pure.config.layers import flat

EPOCH = "epoch"
"""Lightning adds it to whatever is logged; a stream without an end has one epoch."""
Setting = bool | int | float | str
"""What loggers show of a setting."""
FIGURES = ("test/", "train/loss_last")
"""The beginnings of the figures of a summary that stand beside the settings of a run."""


class Board(TensorBoardLogger):
    """Lightning's logger, without a chart of `epoch`."""

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Write all but the epoch."""
        super().log_metrics({key: value for key, value in metrics.items() if key != EPOCH}, step)


def settings_of(experiment: Experiment) -> dict[str, Setting]:
    """All settings by dotted key but the name, which loggers show of themselves; a list as YAML."""
    settings = dict(flat(OmegaConf.to_container(OmegaConf.structured(experiment)), ""))
    del settings["name"]
    return {key: value if isinstance(value, Setting) else text(value) for key, value in settings.items()}


def log_hyperparameters(
    loggers: Sequence[Logger], experiment: Experiment, summary: Mapping[str, Any], step: int, label: str
) -> None:
    """Write the row of a finished run for TensorBoard's HPARAMS: all its settings, and its final figures.

    Figures are scalars of the run, too; where nothing was trained they are its only ones. HPARAMS finds out by itself
    which settings differ between the runs that it shows, and puts these first. (torch's `hparams` also writes a list of
    columns, which HPARAMS would take from the first run for all of them.)

    Args:
        loggers: of the run; those that know no HPARAMS but have a table of runs get the figures.
        experiment: its settings.
        summary: its figures.
        step: of the figures.
        label: of the row.
    """
    figures = {key: float(value) for key, value in summary.items() if key.startswith(FIGURES)}
    logged = {key: value for key, value in figures.items() if not key.startswith("test/")}
    *_, ended = hparams({}, {})
    for logger in loggers:
        if isinstance(logger, TensorBoardLogger):
            for event in (hparams_pb(settings_of(experiment), trial_id=label), ended):
                logger.experiment._get_file_writer().add_summary(event)
        if not isinstance(logger, CSVLogger):
            logger.log_metrics(logged, step)
            logger.save()
