"""Run folders: where they are, which are finished, and what their files say.

Knows `runs/<experiment>/version_N/` with `config.yaml`, `provenance.json` and `summary.json`. A run is finished once
its summary exists. Some finished runs are shipped with the project, in `data/runs/<experiment>/shipped/`; they are used
where the user has no run. Knows nothing of models, and imports no torch, so that reports are quick.
"""

import os
import platform
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from lit_pure import __version__
from lit_pure.config.compose import ConfigError, compose, load
from lit_pure.config.experiment import STARTS, Experiment
from lit_pure.config.project import INSTALLED, PROJECT, command_to_run
from lit_pure.files.reading import of_kind, read_json, refusing

ROOT = Path("runs")
"""The folder of runs, below the working directory."""
SHIPPED_ROOT = PROJECT / "data" / "runs"
"""The folder of the shipped runs."""
DEBUG = "debug"
"""The folder of debug runs below the root: each leaves a `debug.json` in place of a summary, and so never finishes."""
SHIPPED = "shipped"
"""The name of a shipped run, in place of version_N."""
COMPLEXITY = "complexity.json"
"""The cost of one restoration, as `lit-pure bench restore` measured it."""
PRUNED = "pruned.json"
"""The mark of a run that a search ended early: step, metric, value, and the search's trial."""
OURS = ("config.yaml", "provenance.json")
"""Files beside the summary that only a run of ours has."""
PACKAGES = ("torch", "lightning", "transformers", "torchmetrics", "pyiqa", "omegaconf", "tensorboard", "basicsr")
REMEDY = "remove the run folder, or make the run again"
_VERSION = re.compile(r"version_(\d+)")
_EITHER = re.compile(r"version_\d+|shipped")


Kind = TypeVar("Kind", bound=Experiment)


class MissingRun(ValueError):
    """A needed run is missing; the message names the command that makes it."""


@dataclass(frozen=True)
class Run:
    """One run folder."""

    folder: Path

    @property
    def label(self) -> str:
        """The run's path below the root, for example demo/version_0 or dem/bsds500/shipped."""
        for root in (ROOT, SHIPPED_ROOT):
            if self.folder.is_relative_to(root):
                return self.folder.relative_to(root).as_posix()
        return str(self.folder)

    @property
    def finished(self) -> bool:
        """Whether the run is complete."""
        return (self.folder / "summary.json").is_file()

    @property
    def pruned(self) -> bool:
        """Whether a search ended it early, and nobody has trained it on since."""
        return not self.finished and (self.folder / PRUNED).is_file()

    @property
    def shipped(self) -> bool:
        """Whether the run is shipped with the project."""
        return self.folder.is_relative_to(SHIPPED_ROOT)

    @property
    def weights(self) -> Path:
        """The folder of the run's weights."""
        return self.folder / "weights"

    def summary(self) -> dict[str, Any]:
        """The flat row of figures. Raises ValueError if the file is damaged."""
        return read_json(self.folder / "summary.json", REMEDY)

    def debugged(self) -> dict[str, Any]:
        """What a debug run leaves in place of a summary. Raises ValueError if the file is damaged or missing."""
        return read_json(self.folder / f"{DEBUG}.json", REMEDY)

    def provenance(self) -> dict[str, Any]:
        """Where the run comes from; `needs` names the runs that it was built on, with their versions."""
        return read_json(self.folder / "provenance.json", REMEDY)

    def recorded_needs(self) -> dict[str, str]:
        """The runs that it was built on, by role. Raises ValueError if the file is damaged."""
        with refusing(self.folder / "provenance.json", REMEDY):
            found = of_kind(self.provenance()["needs"], dict)
            return {role: of_kind(need, str) for role, need in found.items()}

    def need(self, role: str) -> str:
        """The run that it was built on in one role. Raises ValueError if the file names none."""
        with refusing(self.folder / "provenance.json", REMEDY):
            return self.recorded_needs()[role]

    def needed(self, role: str) -> "Run":
        """The run that it was built on in one role: in the folder of runs that it lies in itself, else as `require`.

        Raises ValueError if its file names none, MissingRun if the run is missing.
        """
        name = self.need(role)
        beside = (Run(folder / name) for folder in (*self.folder.parents, *self.folder.absolute().parents))
        return next((run for run in beside if run.finished), None) or require(name)

    def needs(self) -> dict[str, str]:
        """The runs that its weights need, by role; without those that it continued, which are part of the weights."""
        return {role: need for role, need in self.recorded_needs().items() if role not in STARTS}

    def experiment(self) -> Experiment:
        """The resolved configuration."""
        return load(self.folder / "config.yaml")

    def experiment_as(self, kind: type[Kind]) -> Kind:
        """The same, of the family that is wanted. Raises ConfigError where it is of another one."""
        experiment = self.experiment()
        if not isinstance(experiment, kind):
            wanted = f"name a run of family {kind.family}"
            raise ConfigError(f"{self.label} is a run of family {experiment.family}; {wanted}")
        return experiment


def versions(name: str) -> list[Run]:
    """All runs of an experiment, oldest first."""
    found = [
        (int(match[1]), path) for path in (ROOT / name).glob("version_*") if (match := _VERSION.fullmatch(path.name))
    ]
    return [Run(path) for _, path in sorted(found)]


def newest_finished(name: str) -> Run | None:
    """The newest finished run of an experiment, else its shipped one. `name/version_3` and `name/shipped` ask for one
    run.
    """
    head, _, last = name.rpartition("/")
    if _EITHER.fullmatch(last):
        candidates = [Run((SHIPPED_ROOT if last == SHIPPED else ROOT) / head / last)]
    else:
        candidates = [*reversed(versions(name)), Run(SHIPPED_ROOT / name / SHIPPED)]
    return next((run for run in candidates if run.finished), None)


def require(name: str) -> Run:
    """As `newest_finished`; the name may also be a folder (`runs/demo/version_0/`, as shells complete it).

    Raises MissingRun naming the command that makes the run, or what keeps its experiment from being one.
    """
    name = name.rstrip("/").removeprefix(f"{ROOT}/")
    run = newest_finished(name)
    if run is None:
        raise MissingRun(f"there is no finished run {ROOT / name}; {_how_to_make(name)}")
    return run


def _how_to_make(name: str) -> str:
    """What makes a run; of a mistyped name, the nearest one of an experiment."""
    try:
        compose(experiment_of(name))
    except ConfigError as error:
        return str(error)
    return f"make it with: {make_command(name)}"


def experiment_of(name: str) -> str:
    """The experiment in a run's name, which may end in a version."""
    head, _, last = name.rpartition("/")
    return head if _EITHER.fullmatch(last) else name


def make_command(name: str) -> str:
    """The command that makes a run: published weights are imported, everything else is trained."""
    experiment = experiment_of(name)
    return f"lit-pure weights {experiment}" if _imports(experiment) else command_to_run(experiment)


def _imports(name: str) -> bool:
    """Whether an experiment's file names published weights."""
    try:
        return is_published(compose(name))
    except ConfigError:  # the run of a removed file, or of a sweep
        return False


def is_published(experiment: Experiment) -> bool:
    """Whether the weights are imported. A sampling experiment inherits `source` but has `needs.weights`."""
    return bool(experiment.source.layout) and not experiment.needs.weights


def refuse_training(experiment: Experiment) -> None:
    """Raises MissingRun if an experiment's weights are published: they are imported, never trained."""
    if is_published(experiment):
        # An experiment with such a base inherits its source, but nothing is imported under its own name.
        owner = experiment.name if _imports(experiment.name) else experiment.base
        raise MissingRun(
            f"{experiment.name} has the published weights of {experiment.source.repo}, which are not trained here; "
            f"import them with: lit-pure weights {owner} "
            "(to train, choose another base; to test, see ablations/sampling)"
        )


def require_writable() -> None:
    """Raises ConfigError where no run can be written: ROOT lies below the working directory, which may be anywhere."""
    place = ROOT.absolute()
    existing = next(folder for folder in (place, *place.parents) if folder.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        raise ConfigError(f"{place}: runs cannot be written there; start in a folder that is yours: cd FOLDER")


def finished() -> list[Run]:
    """Every finished run below the root, by path. Other tools write to runs/, too: their folders are left out."""
    folders = [path.parent for path in sorted(ROOT.rglob("summary.json"))]
    return [Run(folder) for folder in folders if all((folder / name).is_file() for name in OURS)]


def provenance(seed: int, needs: dict[str, str], dataset: dict[str, str], command: Sequence[str]) -> dict[str, Any]:
    """Where a run comes from: git state, versions, command, seed, needed runs, dataset fingerprints."""
    return {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": ["lit-pure", *command[1:]],  # without the path of the program
        "seed": seed,
        "needs": needs,
        "dataset": dataset,
        **surroundings(),
    }


def surroundings(checkout: Path = PROJECT) -> dict[str, Any]:
    """The code in use: version, git state of a checkout, versions of Python, system and packages."""
    return {
        "version": __version__,
        "git": {} if INSTALLED and checkout == PROJECT else _git_state(checkout),  # else that of a repository around it
        "python": sys.version.split()[0],
        "platform": platform.platform(),
        "packages": {name: _version(name) for name in PACKAGES},
    }


def _version(name: str) -> str | None:
    from importlib import metadata  # slow, and not needed where an experiment is refused

    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _git_state(checkout: Path) -> dict[str, Any]:
    """The commit, and whether the tree differs from it; empty outside a checkout."""
    try:
        commit, status = (
            subprocess.run(["git", "-C", str(checkout), *words], capture_output=True, text=True, timeout=20, check=True)
            for words in (["rev-parse", "HEAD"], ["status", "--porcelain"])
        )
    except (OSError, subprocess.SubprocessError):
        return {}
    return {"commit": commit.stdout.strip(), "changed": bool(status.stdout.strip())}
