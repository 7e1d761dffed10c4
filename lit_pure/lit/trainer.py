"""Lightning's Trainer for an experiment, with its loggers and callbacks.

Knows the callbacks that every training has; those that show its pictures are the module's. Knows nothing of the order
of a run (`build.py`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lightning import Callback, Trainer
from lightning.pytorch.callbacks import LearningRateMonitor, ProgressBar

from lit_pure.config.experiment import EvaluationConfig, Experiment, RestoringExperiment
from lit_pure.lit.board import settings_of
from lit_pure.lit.callbacks.checkpointing import Checkpointing
from lit_pure.lit.callbacks.ema import EMA
from lit_pure.lit.callbacks.ending import Ending
from lit_pure.lit.callbacks.loss_history import LossHistory
from lit_pure.lit.callbacks.progress_bar import make_progress_bar
from lit_pure.lit.callbacks.provenance import Provenance
from lit_pure.lit.callbacks.pruning import Pruning
from lit_pure.lit.callbacks.save_pictures import SavePictures
from lit_pure.lit.callbacks.seeding import Seeding
from lit_pure.lit.callbacks.signals import StopOnSignal
from lit_pure.lit.callbacks.skip_nonfinite import SkipNonFinite
from lit_pure.lit.callbacks.throughput import Throughput
from lit_pure.lit.callbacks.watchdog import Watchdog
from lit_pure.lit.flags import trainer_arguments
from lit_pure.lit.loggers import make_loggers
from lit_pure.lit.run_module import RunModule
from lit_pure.runs import checkpoints
from lit_pure.runs.folder import PRUNED
from lit_pure.runs.resume import RunPoint
from lit_pure.search.reporting import reporting_of


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


def make_trainer(
    experiment: Experiment,
    module: RunModule,
    point: RunPoint,
    facts: Mapping[str, Any],
    own: Sequence[Callback] = (),
) -> RunTrainer:
    """The Trainer of a run; `facts` is its provenance, `own` are callbacks that the experiment names."""
    config = experiment.trainer
    sets, keep = sorted(experiment.data.test), _pictures_kept(experiment)
    saved = SavePictures(point.folder / "images", sets, keep)
    history, throughput = LossHistory(), Throughput(config.peak_flops)
    provenance = Provenance(facts, point.folder)
    loggers = make_loggers(config.loggers, point, settings_of(experiment))
    callbacks: list[Callback] = [LearningRateMonitor("step")] if loggers else []
    if config.enable_progress_bar and not any(isinstance(one, ProgressBar) for one in own):
        callbacks.append(make_progress_bar())
    callbacks += [Seeding(experiment.seed), history, throughput, provenance]
    callbacks += [*module.picture_callbacks(sets, keep), saved]
    guard = SkipNonFinite(point.folder, config.max_skipped)
    averaging = EMA(experiment.optim.ema, guard) if experiment.optim.ema else None
    callbacks += [guard, *([averaging] if averaging else []), *own, Ending(config.max_time)]
    callbacks += [*_saving(experiment, point), Watchdog(config.timeout)]
    trainer = Trainer(
        **trainer_arguments(config, point.folder, module.automatic_optimization),
        use_distributed_sampler=False,
        enable_model_summary=False,
        enable_checkpointing=False,
        logger=loggers,
        callbacks=callbacks,
    )
    return RunTrainer(trainer, averaging, history, throughput, provenance, saved)


def _saving(experiment: Experiment, point: RunPoint) -> list[Callback]:
    """What saves checkpoints, and what saves and then ends, after all callbacks whose state they hold.

    A debug run saves none.
    """
    config = experiment.trainer
    if config.debugging():
        return [StopOnSignal(None)]
    every = config.save_every or config.val_every
    saving = Checkpointing(point.folder / checkpoints.FOLDER, every, config.keep_last, config.keep_best)
    trial = reporting_of(experiment.name)
    pruning = [Pruning(trial, saving, point.folder / PRUNED)] if trial else []
    return [saving, StopOnSignal(saving), *pruning]


def _pictures_kept(experiment: Experiment) -> int:
    """Test pictures of a set whose LQ and HQ are kept beside the restored one."""
    return (experiment.evaluation if isinstance(experiment, RestoringExperiment) else EvaluationConfig()).keep
