"""Lightning's loggers of a run: TensorBoard, CSV, and offline Weights & Biases and MLflow, all in the run's folder.

Knows where each writes, and how a resumed run keeps its curves. Knows nothing of what is logged.
"""

import csv
import logging
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import CSVLogger, Logger, MLFlowLogger, WandbLogger
from lightning.pytorch.utilities import rank_zero_only

from lit_pure.config.training import LoggerName
from lit_pure.files.atomic import whole_file
from lit_pure.files.reading import Damaged
from lit_pure.lit.board import EPOCH, Board
from lit_pure.runs.curves import CURVES, DAMAGED, read_curves
from lit_pure.runs.folder import Run
from lit_pure.runs.resume import RunPoint

log = logging.getLogger(__name__)

PROJECT = "lit_pure"
"""The project of Weights & Biases that `wandb sync` puts a run into."""
WANDB, MLFLOW = "wandb", "mlflow"
"""Their folders in that of a run."""
QUIET = {
    "WANDB_SILENT": "true",
    "WANDB_ERROR_REPORTING": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    # MLflow asks for it since it prefers databases, which need more packages and minutes to make one.
    "MLFLOW_ALLOW_FILE_STORE": "true",
}
"""Variables with which nothing is sent, and nothing printed; set unless the user has set them."""


def make_loggers(names: Sequence[LoggerName], point: RunPoint, settings: Mapping[str, Any]) -> list[Logger]:
    """The loggers of a run; of a resumed one, they go on where its checkpoint was.

    Args:
        names: which; their packages are installed.
        point: the run.
        settings: of the experiment, by dotted key, which those get that show settings beside curves.
    """
    return [MAKERS[name](point, settings) for name in names]


def close(loggers: Iterable[Logger]) -> None:
    """End what a logger would keep running after its run, and give to the next one."""
    for logger in loggers:
        if isinstance(logger, WandbLogger) and logger._experiment is not None:
            logger.experiment.finish()


def _board(point: RunPoint, settings: Mapping[str, Any]) -> Logger:
    # A step is logged under the number of those before it.
    return Board(*_place(point), default_hp_metric=False, purge_step=point.step or None)


def _table(point: RunPoint, settings: Mapping[str, Any]) -> Logger:
    root, name, version = _place(point)
    table = CSVLogger(root, name, version=version, flush_logs_every_n_steps=50)
    if point.step:
        _keep_curves(table, point)
    return table


def _wandb(point: RunPoint, settings: Mapping[str, Any]) -> Logger:
    folder = point.folder.absolute() / WANDB
    caches = {f"WANDB_{kind}_DIR": str(folder / kind.lower()) for kind in ("CACHE", "CONFIG", "DATA")}
    os.environ |= {key: value for key, value in QUIET.items() if key not in os.environ} | caches
    # Offline, wandb counts from 0 in each launch: as one run, the second would be synced over the first.
    label = Run(point.folder).label
    made = Wandb(name=label, group=label, project=PROJECT, save_dir=str(folder.parent), offline=True)
    made._wandb_init.pop("anonymous", None)  # Lightning sets what wandb warns of
    made.log_hyperparams(dict(settings))
    return made


def _mlflow(point: RunPoint, settings: Mapping[str, Any]) -> Logger:
    os.environ |= {key: value for key, value in QUIET.items() if key not in os.environ}
    for name in ("mlflow", "lightning.pytorch.loggers.mlflow"):  # they announce what they make
        logging.getLogger(name).setLevel(logging.ERROR)
    folder, label = point.folder.absolute() / MLFLOW, Run(point.folder).label
    # A folder of MLflow holds the file meta.yaml: of an experiment, and below it of each of its runs.
    known = sorted(folder.glob("[0-9]*/*/meta.yaml"))
    identity = known[-1].parent.name if known else None
    experiment = label.rpartition("/")[0]
    made = MLflow(experiment, label, tracking_uri=folder.as_uri(), run_id=identity)
    if identity is None:  # its parameters are written once
        made.log_hyperparams(dict(settings))
    return made


MAKERS: Mapping[LoggerName, Callable[[RunPoint, Mapping[str, Any]], Logger]] = {
    "tensorboard": _board,
    "csv": _table,
    "wandb": _wandb,
    "mlflow": _mlflow,
}


class Wandb(WandbLogger):
    """Lightning's logger, without a chart of `epoch`."""

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Write all but the epoch."""
        super().log_metrics({key: value for key, value in metrics.items() if key != EPOCH}, step)


class MLflow(MLFlowLogger):
    """Lightning's logger, without a chart of `epoch`."""

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Write all but the epoch."""
        super().log_metrics({key: value for key, value in metrics.items() if key != EPOCH}, step)


def _place(point: RunPoint) -> tuple[Path, str, int]:
    """Root, name and version, of which Lightning makes the folder of the run."""
    return point.folder.parent.parent, point.folder.parent.name, int(point.folder.name.rpartition("_")[2])


@rank_zero_only
def _keep_curves(table: CSVLogger, point: RunPoint) -> None:
    """Keep the curves of a resumed run, whose file Lightning's logger removes."""
    path, aside = point.folder / CURVES, point.folder / f"{CURVES}.before"
    kept = aside if aside.exists() else path  # an earlier launch was killed below
    if not kept.exists():
        return
    try:
        names, rows = read_curves(kept, point.step)
    except Damaged as damaged:
        log.warning("%s", damaged)
        os.replace(kept, point.folder / DAMAGED)
        return
    os.replace(kept, aside)
    writer = table.experiment  # it removes the file now
    with whole_file(path) as partial, partial.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerow(names)
        csv.DictWriter(file, names).writerows(rows)
    writer.metrics_keys = names
    aside.unlink()
