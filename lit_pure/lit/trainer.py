"""Lightning's Trainer for an experiment, with its loggers and callbacks.

Knows the callbacks that every training has; those that show its pictures are the module's. Knows nothing of the order
of a run (`build.py`).
"""

import csv
import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lightning import Callback, Trainer
from lightning.pytorch.callbacks import LearningRateMonitor
from lightning.pytorch.loggers import CSVLogger, Logger
from lightning.pytorch.utilities import rank_zero_only

from lit_pure.config.experiment import EvaluationConfig, Experiment, RestoringExperiment
from lit_pure.files.atomic import whole_file
from lit_pure.files.reading import Damaged
from lit_pure.lit.board import Board
from lit_pure.lit.callbacks.checkpointing import Checkpointing
from lit_pure.lit.callbacks.ema import EMA
from lit_pure.lit.callbacks.loss_history import LossHistory
from lit_pure.lit.callbacks.progress_bar import TrainingBar
from lit_pure.lit.callbacks.provenance import Provenance
from lit_pure.lit.callbacks.save_pictures import SavePictures
from lit_pure.lit.callbacks.seeding import Seeding
from lit_pure.lit.callbacks.signals import StopOnSignal
from lit_pure.lit.callbacks.skip_nonfinite import SkipNonFinite
from lit_pure.lit.callbacks.throughput import Throughput
from lit_pure.lit.callbacks.watchdog import Watchdog
from lit_pure.lit.distributed.strategies import strategy_of
from lit_pure.lit.run_module import RunModule
from lit_pure.runs import checkpoints
from lit_pure.runs.curves import CURVES, DAMAGED, read_curves
from lit_pure.runs.resume import RunPoint

log = logging.getLogger(__name__)


@dataclass
class RunTrainer:
    """A Trainer, and those of its callbacks that are read afterwards."""

    trainer: Trainer
    averaging: EMA | None
    history: LossHistory
    throughput: Throughput
    provenance: Provenance
    saved: SavePictures

    def training_row(self) -> dict[str, float | int]:
        """The training's part of the summary."""
        return {**self.history.row(), **self.throughput.row()}


def make_trainer(experiment: Experiment, module: RunModule, point: RunPoint, facts: Mapping[str, Any]) -> RunTrainer:
    """The Trainer of a run; `facts` is its provenance."""
    config = experiment.trainer
    sets, keep = sorted(experiment.data.test), _pictures_kept(experiment)
    saved = SavePictures(point.folder / "images", sets, keep)
    history, throughput = LossHistory(), Throughput(config.peak_flops)
    provenance = Provenance(facts, point.folder)
    callbacks: list[Callback] = [LearningRateMonitor("step"), TrainingBar(), Seeding(experiment.seed)]
    callbacks += [history, throughput, provenance, *module.picture_callbacks(sets, keep), saved]
    guard = SkipNonFinite(point.folder, config.max_skipped)
    averaging = EMA(experiment.optim.ema, guard) if experiment.optim.ema else None
    every = config.save_every or config.val_every
    saving = Checkpointing(point.folder / checkpoints.FOLDER, every, config.keep_last, config.keep_best)
    callbacks += [guard, *([averaging] if averaging else []), saving, StopOnSignal(saving), Watchdog(config.timeout)]
    trainer = Trainer(
        max_steps=config.max_steps,
        val_check_interval=config.val_every * config.accumulate,
        check_val_every_n_epoch=None,
        log_every_n_steps=config.log_every,
        accumulate_grad_batches=config.accumulate,
        # With two optimizers the module clips, for each of them alone.
        gradient_clip_val=(config.gradient_clip or None) if module.automatic_optimization else None,
        accelerator=config.accelerator,
        devices=config.devices,
        num_nodes=config.num_nodes,
        strategy=strategy_of(config),
        precision=config.precision,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
        enable_model_summary=False,
        enable_checkpointing=False,
        logger=_loggers(point),
        callbacks=callbacks,
    )
    return RunTrainer(trainer, averaging, history, throughput, provenance, saved)


def _pictures_kept(experiment: Experiment) -> int:
    """Test pictures of a set whose LQ and HQ are kept beside the restored one."""
    return (experiment.evaluation if isinstance(experiment, RestoringExperiment) else EvaluationConfig()).keep


def _loggers(point: RunPoint) -> list[Logger]:
    """TensorBoard and CSV in the run's folder; of a resumed run, without what came after its checkpoint."""
    root, name = point.folder.parent.parent, point.folder.parent.name
    version = int(point.folder.name.rpartition("_")[2])
    # A step is logged under the number of those before it.
    board = Board(root, name, version, default_hp_metric=False, purge_step=point.step or None)
    table = CSVLogger(root, name, version=version, flush_logs_every_n_steps=50)
    if point.step:
        _keep_curves(table, point)
    return [board, table]


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
