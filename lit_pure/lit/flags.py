"""The arguments of Lightning's Trainer that an experiment sets.

Knows the knobs of training and what they are called in Lightning. Knows no callback and no logger (`trainer.py`).
"""

import math
from pathlib import Path
from typing import Any

from lightning.pytorch.profilers import AdvancedProfiler, Profiler, PyTorchProfiler, SimpleProfiler

from lit_pure.config.experiment import Experiment
from lit_pure.config.training import TrainerConfig
from lit_pure.lit.distributed.strategies import strategy_of

PROFILERS = {"simple": SimpleProfiler, "advanced": AdvancedProfiler, "pytorch": PyTorchProfiler}
PROFILE = "profile"
"""The end of the name of a profiler's file; the stage comes before it: fit-profile.txt."""


def trainer_arguments(config: TrainerConfig, folder: Path, clips: bool) -> dict[str, Any]:
    """Arguments of a Trainer.

    Args:
        config: the knobs.
        folder: of the run, for what a profiler writes.
        clips: whether Lightning clips gradients, not the module: with two optimizers it does so for each of them alone.

    Raises:
        ValueError: this machine lacks the accelerator, or the devices.
    """
    return {
        "max_steps": config.max_steps,
        "min_steps": config.min_steps or None,
        "min_epochs": 0,  # one, by default, where there is a min_steps; a stream has no end
        "val_check_interval": config.val_every * config.accumulate,
        "check_val_every_n_epoch": None,
        "log_every_n_steps": config.log_every,
        "accumulate_grad_batches": config.accumulate,
        "gradient_clip_val": (config.gradient_clip or None) if clips else None,
        "gradient_clip_algorithm": config.gradient_clip_algorithm,
        "accelerator": config.accelerator,
        "devices": config.devices,
        "num_nodes": config.num_nodes,
        "strategy": strategy_of(config),
        "precision": config.precision,
        "sync_batchnorm": config.sync_batchnorm,
        "deterministic": config.deterministic,
        "benchmark": config.benchmark,
        "num_sanity_val_steps": config.num_sanity_val_steps,
        "enable_progress_bar": config.enable_progress_bar,
        **_debug_arguments(config, folder),
    }


def total_steps(experiment: Experiment, samples: int, world: int) -> int:
    """Optimizer steps of a training: `max_steps`, or those of `max_epochs` if they are fewer.

    Args:
        experiment: its knobs.
        samples: of the training set.
        world: number of processes.
    """
    config = experiment.trainer
    if not config.max_epochs:
        return config.max_steps
    each = experiment.data.batch_size * config.accumulate * world
    return min(config.max_steps, math.ceil(config.max_epochs * samples / each))


def _debug_arguments(config: TrainerConfig, folder: Path) -> dict[str, Any]:
    # Lightning's own overfit_batches would put another sampler in place of ours, whose first batches are fixed anyway.
    again = config.overfit_batches or None
    return {
        "fast_dev_run": config.fast_dev_run,
        "limit_train_batches": again or _limit(config.limit_train_batches),
        "limit_val_batches": again or _limit(config.limit_val_batches),
        "limit_test_batches": _limit(config.limit_test_batches),
        "limit_predict_batches": _limit(config.limit_predict_batches),
        "profiler": _profiler(config, folder),
        "detect_anomaly": config.detect_anomaly,
    }


def _limit(batches: int) -> int | None:
    return batches if batches >= 0 else None


def _profiler(config: TrainerConfig, folder: Path) -> Profiler | None:
    kind = PROFILERS.get(config.profiler)
    return kind(dirpath=folder, filename=PROFILE) if kind else None
