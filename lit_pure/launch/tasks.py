"""The tasks of a sweep: which runs have to be made, and which are finished already.

Knows experiments, their needs and run folders. Knows nothing of where a run is made (`local.py`, `slurm.py`).
Imports no torch.
"""

import re
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace

from lit_pure.config.compose import ConfigError, changes, compose, experiment_names, grid, is_search, is_sweep
from lit_pure.config.experiment import Experiment
from lit_pure.files.reading import BROKEN
from lit_pure.runs import folder as runs
from lit_pure.runs.folder import Run
from lit_pure.runs.resume import ELSEWHERE

ANOTHER_BATCH = {"data.batch_size", "trainer.accumulate"}
"""A resumed training may change these, but a finished run counts only if they are equal."""


@dataclass(frozen=True)
class Task:
    """One run to be made by `lit-pure run NAME KEY=VALUE ...`, in its own process."""

    experiment: Experiment
    overrides: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    """Names of the tasks whose runs must be finished before."""

    @property
    def name(self) -> str:
        """The name of the experiment."""
        return self.experiment.name

    @property
    def shown(self) -> str:
        """The command as one would type it."""
        return shlex.join(["lit-pure", "run", self.name, *self.overrides])

    @property
    def command(self) -> list[str]:
        """The command to execute. Its output is unbuffered, so that log files can be read at once."""
        return [sys.executable, "-u", "-m", "lit_pure", "run", self.name, *self.overrides]


@dataclass(frozen=True)
class Worker(Task):
    """A process that makes trials of a search, one after another, beside others: `lit-pure sweep NAME`."""

    @property
    def shown(self) -> str:
        """The command as one would type it."""
        return shlex.join(["lit-pure", "sweep", self.name, *self.overrides])

    @property
    def command(self) -> list[str]:
        """The command to execute."""
        return [sys.executable, "-u", "-m", "lit_pure", "sweep", self.name, *self.overrides]


def members(name: str) -> list[str]:
    """The experiments of a sweep, as `compose` takes them.

    A sweep is a file with `sweep:`, or a folder of experiments: all its files by name, with numbers sorted by value.

    Raises:
        ConfigError: no such file or folder exists, it is empty, or a file in it is a search.
    """
    names = experiment_names()
    folders = sorted({one.rpartition("/")[0] for one in names} - {""})
    folder = name.rstrip("/")
    if folder in folders and not is_sweep(folder):
        inside = sorted((one for one in names if one.rpartition("/")[0] == folder), key=_by_size)
        if searches := [one for one in inside if is_search(one)]:
            raise ConfigError(
                f"{searches[0]} has a search:, which is no variant; start it alone: lit-pure sweep {searches[0]}"
            )
        return [member for one in inside for member in (members(one) if is_sweep(one) else [one])]
    if below := [one for one in folders if one.startswith(f"{folder}/")]:
        raise ConfigError(f"experiments/{folder} holds no experiments, only folders; name one: {', '.join(below)}")
    return [f"{name.removesuffix('.yaml')}/{label}" for label in grid(name)]


def find_finished(experiment: Experiment) -> Run | None:
    """The newest finished run with an experiment's name and settings, built on the runs that a new one would use."""
    # A sampling experiment takes everything else from the run whose weights it uses.
    weights = experiment.needs.weights
    wanted = {"weights": weights} if weights else experiment.needs.made_first()
    existing = {kind: run.label for kind, need in wanted.items() if (run := runs.newest_finished(need))}
    for run in reversed(runs.versions(experiment.name)):
        if run.finished and existing.keys() == wanted.keys() and _same(run, experiment, existing):
            return run
    return None


def missing_needs(tasks: Sequence[Task]) -> tuple[list[Task], list[Task]]:
    """What is to be made first, each once and after its own needs; and the tasks, which name it."""
    first: dict[str, Task] = {}

    def with_needs(task: Task) -> Task:
        needs = task.experiment.needs
        missing = tuple(need for need in needs.made_first().values() if runs.newest_finished(need) is None)
        for need in missing:
            if need not in first:
                needed = with_needs(Task(compose(need)))  # adds its own needs, which come before it
                first[need] = needed
        return replace(task, needs=missing)

    waiting = [with_needs(task) for task in tasks]
    return list(first.values()), waiting


def _same(run: Run, experiment: Experiment, needs: dict[str, str]) -> bool:
    """Whether a run was made with an experiment's settings on these runs, on whatever machine."""
    try:
        differing = changes(run.experiment(), experiment).keys() - (ELSEWHERE - ANOTHER_BATCH)
        return not differing and needs.items() <= run.recorded_needs().items()
    except BROKEN:  # the run is damaged
        return False


def _by_size(name: str) -> list[tuple[int, str]]:
    return [(int(part) if part.isdigit() else 0, part) for part in re.split(r"(\d+)", name)]
