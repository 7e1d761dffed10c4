"""What a sweep comes to: the runs that are to be made, and those that stand already.

Knows experiments, their needs and run folders. Knows nothing of where a run is made (`local.py`, `slurm.py`).
Imports no torch.
"""

import re
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace

from lit_pure.config.compose import ConfigError, changes, compose, experiment_names, grid, is_sweep
from lit_pure.config.experiment import Experiment
from lit_pure.runs import folder as runs
from lit_pure.runs.folder import Run
from lit_pure.runs.resume import ELSEWHERE

ANOTHER_BATCH = {"data.batch_size", "trainer.accumulate"}
"""A training that goes on may change these on the way; a finished one with others is not the one that was asked for."""


@dataclass(frozen=True)
class Task:
    """One run to be made by `lit-pure run NAME KEY=VALUE ...`, in a process of its own."""

    experiment: Experiment
    overrides: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    """Names of the tasks whose runs must be finished before."""

    @property
    def name(self) -> str:
        """Of the experiment."""
        return self.experiment.name

    @property
    def told(self) -> str:
        """The command, as one would type it."""
        return shlex.join(["lit-pure", "run", self.name, *self.overrides])

    @property
    def command(self) -> list[str]:
        """The command, as it is executed. Unbuffered: what is written to a file can be read at once."""
        return [sys.executable, "-u", "-m", "lit_pure", "run", self.name, *self.overrides]


def members(name: str) -> list[str]:
    """The experiments of a sweep, as `compose` takes them.

    A sweep is a file with `sweep:`, or a folder of experiments: every file in it, by name, numbers by their size.

    Raises:
        ConfigError: there is no such file or folder, or nothing in it.
    """
    names = experiment_names()
    folders = sorted({one.rpartition("/")[0] for one in names} - {""})
    folder = name.rstrip("/")
    if folder in folders and not is_sweep(folder):
        inside = sorted((one for one in names if one.rpartition("/")[0] == folder), key=_by_size)
        return [member for one in inside for member in (members(one) if is_sweep(one) else [one])]
    if below := [one for one in folders if one.startswith(f"{folder}/")]:
        raise ConfigError(f"experiments/{folder} holds no experiments, only folders; name one: {', '.join(below)}")
    return [f"{name.removesuffix('.yaml')}/{label}" for label in grid(name)]


def finished(experiment: Experiment) -> Run | None:
    """The newest finished run of an experiment's name and settings, built on the runs it would be built on now."""
    # Who samples takes all else from the run that it samples from.
    kinds = ("weights",) if experiment.needs.weights else ("tokenizer", "dem")
    wanted = {kind: need for kind in kinds if (need := getattr(experiment.needs, kind))}
    there = {kind: run.label for kind, need in wanted.items() if (run := runs.newest_finished(need))}
    for run in reversed(runs.versions(experiment.name)):
        if run.finished and there.keys() == wanted.keys() and _same(run, experiment, there):
            return run
    return None


def unmade(tasks: Sequence[Task]) -> tuple[list[Task], list[Task]]:
    """Tokenizers and DEMs to be made first, each once and behind its own needs; and the tasks, which name them."""
    found: dict[str, Task] = {}

    def needing(task: Task) -> Task:
        needs = task.experiment.needs
        wanted = () if needs.weights else (needs.tokenizer, needs.dem)
        missing = tuple(need for need in wanted if need and runs.newest_finished(need) is None)
        for need in missing:
            if need not in found:
                made = needing(Task(compose(need)))  # finds its own needs, which come before it
                found[need] = made
        return replace(task, needs=missing)

    waiting = [needing(task) for task in tasks]
    return list(found.values()), waiting


def _same(run: Run, experiment: Experiment, needs: dict[str, str]) -> bool:
    """Whether a run was made with an experiment's settings, wherever it ran, on these runs."""
    try:
        others = changes(run.experiment(), experiment).keys() - (ELSEWHERE - ANOTHER_BATCH)
        return not others and needs.items() <= run.provenance()["needs"].items()
    except (ValueError, OSError, KeyError):  # damaged: it does not serve
        return False


def _by_size(name: str) -> list[tuple[int, str]]:
    return [(int(part) if part.isdigit() else 0, part) for part in re.split(r"(\d+)", name)]
