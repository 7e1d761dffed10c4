"""Which run a launch goes on with, and from where.

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
"""In a run folder: held by the process that writes to it, let go by the system when that ends, however it ends."""
AUTO, NEVER = "auto", "never"
"""Values of `trainer.resume` that name no run."""
ELSEWHERE = {
    *(f"trainer.{name}" for name in ("accelerator", "devices", "num_nodes", "strategy", "timeout", "compile")),
    *(f"trainer.{name}" for name in ("activation_checkpointing", "accumulate", "peak_flops", "resume")),
    *(f"trainer.{name}" for name in ("log_every", "val_every", "save_every", "keep_last", "keep_best", "max_skipped")),
    *(f"data.{name}" for name in ("batch_size", "eval_batch_size", "num_workers")),
    "backbone.loss_chunk",
}
"""Settings that say where and how a training runs, not what is learned: they may change on the way."""


@dataclass(frozen=True)
class Place:
    """A run folder, and the checkpoint in it to go on from."""

    folder: Path
    checkpoint: Path | None = None
    step: int = 0
    """Optimizer steps that are done."""


def found(experiment: Experiment, held: ExitStack) -> Place | None:
    """The run to go on with, as `trainer.resume` says, held until `held` is closed; None begins a new one.

    `auto` takes the newest unfinished run of the same settings that has a complete checkpoint and is not being written
    to by another process, unless a newer one of the same settings came to its end.

    Raises:
        ConfigError: a run was named that cannot be gone on with.
    """
    wanted = experiment.trainer.resume
    if wanted == NEVER or experiment.needs.weights:
        return None
    if wanted != AUTO:
        return _named(experiment, held)
    for run in reversed(runs.versions(experiment.name)):
        checkpoint = checkpoints.newest(run.folder / checkpoints.FOLDER)
        if not run.finished and checkpoint is None:
            continue
        others = _others(run, experiment)
        if run.finished and not others:
            return None
        if run.finished or checkpoint is None:
            continue
        if others:
            log.info(
                "%s is unfinished, but of other settings (%s): it is left as it is", run.label, "; ".join(others[:3])
            )
        elif _hold(run, held):
            return Place(run.folder, checkpoint.folder, checkpoint.step)
        else:
            log.info("%s is being trained by another process: a new run begins", run.label)
    return None


def begun(experiment: Experiment, held: ExitStack) -> Place:
    """A new run folder, held until `held` is closed. Two launches at one time get two."""
    parent = runs.ROOT / experiment.name
    parent.mkdir(parents=True, exist_ok=True)
    number = max((int(run.folder.name.rpartition("_")[2]) for run in runs.versions(experiment.name)), default=-1) + 1
    while True:
        folder = parent / f"version_{number}"
        try:
            folder.mkdir()
        except FileExistsError:
            number += 1
            continue
        _hold(Run(folder), held)
        return Place(folder)


def check_named(experiment: Experiment) -> tuple[Run, checkpoints.Checkpoint]:
    """The run that `trainer.resume` names, and its newest checkpoint. Raises ConfigError where it cannot go on."""
    name = experiment.trainer.resume.rstrip("/").removeprefix(f"{runs.ROOT}/")
    run = Run(runs.ROOT / name)
    said = f"trainer.resume = {experiment.trainer.resume}"
    if runs.experiment_of(name) != experiment.name or not run.folder.is_dir():
        known = ", ".join(item.label for item in runs.versions(experiment.name)) or "no runs of it"
        raise ConfigError(f"{said}: no such run of {experiment.name}; there are {known}; or take auto, or never")
    if run.finished:
        raise ConfigError(f"{said}: that run came to its end; take trainer.resume=never for a new one")
    checkpoint = checkpoints.newest(run.folder / checkpoints.FOLDER)
    if checkpoint is None:
        raise ConfigError(f"{said}: it has no complete checkpoint; take trainer.resume=never for a new run")
    if others := _others(run, experiment):
        raise ConfigError(f"{said}: its settings are others ({'; '.join(others)}); take them, or trainer.resume=never")
    return run, checkpoint


def facts(place: Place, told: Mapping[str, Any]) -> dict[str, Any]:
    """What provenance tells of a run: of one that goes on its beginning, and each launch that went on with it."""
    if place.checkpoint is None:
        return dict(told)
    before = Run(place.folder).provenance()
    again = {name: told[name] for name in ("started", "command", "git", "python", "platform", "packages")}
    return before | {"continued": [*before.get("continued", []), {"step": place.step, **again}]}


def _named(experiment: Experiment, held: ExitStack) -> Place:
    run, checkpoint = check_named(experiment)
    if not _hold(run, held):
        raise ConfigError(f"{run.label} is being trained by another process; wait for it, or stop it")
    return Place(run.folder, checkpoint.folder, checkpoint.step)


def _others(run: Run, experiment: Experiment) -> list[str]:
    """Settings of a run that are not the experiment's and change what is learned, each as "key: its -> wanted"."""
    try:
        before = run.experiment()
    except (ConfigError, ValueError, OSError):
        return ["its config.yaml cannot be read"]
    learned = changes(before, experiment).keys() - ELSEWHERE
    return [line for line in differences(before, experiment) if line.partition(":")[0] in learned]


def _hold(run: Run, held: ExitStack) -> bool:
    """Whether this process may write to a run; the claim ends with `held`, or with the process."""
    try:
        import fcntl
    except ImportError:  # no such system here: nobody is kept out
        return True
    file: IO[str] = open(run.folder / LOCK, "a")  # noqa: SIM115  it stays open as long as it is held
    try:
        # A record lock: processes that were forked, such as the loader's, do not hold it when this one is killed.
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        file.close()
        return False
    except OSError as error:  # a file system without locks
        log.debug("%s cannot be locked: %s", run.folder, os.strerror(error.errno or 0))
    held.callback(file.close)
    return True
