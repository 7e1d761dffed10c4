"""Which run a launch resumes, and from which checkpoint.

Knows run folders, their settings and their complete checkpoints, and keeps two launches out of one folder. Knows
nothing of what is trained, and imports no torch.
"""

import logging
import os
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from lit_pure.config.compose import ConfigError, changes, differences
from lit_pure.config.experiment import Experiment
from lit_pure.runs import checkpoints
from lit_pure.runs import folder as runs
from lit_pure.runs.folder import Run

log = logging.getLogger(__name__)

LOCK = ".lock"
"""In a run folder: locked by the process that writes to it. The system unlocks it when that process ends."""
AUTO, NEVER = "auto", "never"
"""The values of `trainer.resume` that name no run."""
ELSEWHERE = {
    *(f"trainer.{name}" for name in ("accelerator", "devices", "num_nodes", "strategy", "timeout", "compile")),
    *(f"trainer.{name}" for name in ("activation_checkpointing", "accumulate", "peak_flops", "resume")),
    *(f"trainer.{name}" for name in ("log_every", "val_every", "save_every", "keep_last", "keep_best", "max_skipped")),
    *(f"trainer.{name}" for name in ("deterministic", "benchmark", "num_sanity_val_steps", "enable_progress_bar")),
    "trainer.loggers",
    *(f"data.{name}" for name in ("batch_size", "eval_batch_size", "num_workers")),
    *("backbone.loss_chunk", "backbone.attention"),
}
"""Settings of where and how a training runs, not of what is learned: a resumed run may change them."""


@dataclass(frozen=True)
class RunPoint:
    """A run folder, and the checkpoint in it to resume from."""

    folder: Path
    checkpoint: Path | None = None
    """None in a new run."""
    step: int = 0
    """Finished optimizer steps."""


def find_run(experiment: Experiment, locks: ExitStack) -> RunPoint | None:
    """The run that `trainer.resume` asks for, locked until `locks` is closed; None asks for a new run.

    `auto` takes the newest unfinished run of the same settings that has a complete checkpoint and that no other process
    writes to, unless a newer run of the same settings is finished. A debug run resumes none.

    Raises:
        ConfigError: the named run cannot be resumed.
    """
    wanted = experiment.trainer.resume
    if wanted == NEVER or experiment.needs.weights or experiment.trainer.debugging():
        return None
    if wanted != AUTO:
        return _find_named(experiment, locks)
    for run in reversed(runs.versions(experiment.name)):
        checkpoint = checkpoints.newest(run.folder / checkpoints.FOLDER)
        if not run.finished and checkpoint is None:
            continue
        differing = _differences(run, experiment)
        if run.finished and not differing:
            return None
        if run.finished or checkpoint is None:
            continue
        if differing:
            log.info(
                "%s is unfinished, but its settings differ (%s): it is left as it is",
                run.label,
                "; ".join(differing[:3]),
            )
        elif _lock(run, locks):
            return RunPoint(run.folder, checkpoint.folder, checkpoint.step)
        else:
            log.info("another process is training %s: a new run starts", run.label)
    return None


def start_run(experiment: Experiment, locks: ExitStack) -> RunPoint:
    """A new run folder, locked until `locks` is closed. Two launches at the same time get two folders.

    That of a debug run is below `runs/debug`.
    """
    name = f"{runs.DEBUG}/{experiment.name}" if experiment.trainer.debugging() else experiment.name
    parent = runs.ROOT / name
    parent.mkdir(parents=True, exist_ok=True)
    number = max((int(run.folder.name.rpartition("_")[2]) for run in runs.versions(name)), default=-1) + 1
    while True:
        folder = parent / f"version_{number}"
        try:
            folder.mkdir()
        except FileExistsError:
            number += 1
            continue
        _lock(Run(folder), locks)
        return RunPoint(folder)


def check_named(experiment: Experiment) -> tuple[Run, checkpoints.Checkpoint]:
    """The run that `trainer.resume` names, and its newest checkpoint. Raises ConfigError if it cannot be resumed."""
    name = experiment.trainer.resume.rstrip("/").removeprefix(f"{runs.ROOT}/")
    run = Run(runs.ROOT / name)
    setting = f"trainer.resume = {experiment.trainer.resume}"
    if runs.experiment_of(name) != experiment.name or not run.folder.is_dir():
        known = ", ".join(item.label for item in runs.versions(experiment.name)) or "no runs of it"
        raise ConfigError(f"{setting}: no such run of {experiment.name}; there are {known}; or take auto, or never")
    if run.finished:
        raise ConfigError(f"{setting}: that run is finished; take trainer.resume=never for a new one")
    checkpoint = checkpoints.newest(run.folder / checkpoints.FOLDER)
    if checkpoint is None:
        raise ConfigError(f"{setting}: it has no complete checkpoint; take trainer.resume=never for a new run")
    if differing := _differences(run, experiment):
        raise ConfigError(
            f"{setting}: its settings differ ({'; '.join(differing)}); take them, or trainer.resume=never"
        )
    return run, checkpoint


def provenance(point: RunPoint, launch: Mapping[str, Any]) -> dict[str, Any]:
    """The provenance of a run: of a new one that of this launch; of a resumed one its own, with this launch added."""
    if point.checkpoint is None:
        return dict(launch)
    before = Run(point.folder).provenance()
    added = {name: launch[name] for name in ("started", "command", "git", "python", "platform", "packages")}
    return before | {"continued": [*before.get("continued", []), {"step": point.step, **added}]}


def _find_named(experiment: Experiment, locks: ExitStack) -> RunPoint:
    run, checkpoint = check_named(experiment)
    if not _lock(run, locks):
        raise ConfigError(f"another process is training {run.label}; wait for it, or stop it")
    return RunPoint(run.folder, checkpoint.folder, checkpoint.step)


def _differences(run: Run, experiment: Experiment) -> list[str]:
    """The settings of a run that differ from the experiment's and change what is learned, each as "key: its -> new"."""
    try:
        before = run.experiment()
    except (ConfigError, ValueError, OSError):
        return ["its config.yaml cannot be read"]
    learned = changes(before, experiment).keys() - ELSEWHERE
    return [line for line in differences(before, experiment) if line.partition(":")[0] in learned]


def _lock(run: Run, locks: ExitStack) -> bool:
    """Lock a run for this process; False if another process has it. The lock ends with `locks`, or with the process."""
    try:
        import fcntl
    except ImportError:  # this system has no such locks
        return True
    file: IO[str] = open(run.folder / LOCK, "a")  # noqa: SIM115  it stays open as long as the lock
    try:
        # A record lock: forked processes, such as a loader's workers, do not keep it when this one is killed.
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        file.close()
        return False
    except OSError as error:  # a file system without locks
        log.debug("%s cannot be locked: %s", run.folder, os.strerror(error.errno or 0))
    locks.callback(file.close)
    return True
