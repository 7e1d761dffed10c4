"""From whatever names weights to their restorer: a run, a folder, a file, or a repository of the Hugging Face hub.

Knows all that weights may lie in, and in which order it is looked for: what lies here, then runs, then the hub, which
is asked once, and never for a name that is ours. Knows no family. Imports no torch before weights are found.
"""

import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lit_pure.config.compose import ConfigError, compose, experiment_names, is_sweep
from lit_pure.config.experiment import RestoringExperiment
from lit_pure.config.library import find_file
from lit_pure.config.project import ROOTS
from lit_pure.convert.layouts import read_back
from lit_pure.families.settings import FIX, laid_over, settings_of
from lit_pure.families.table import FAMILIES, family_of, restorer_of
from lit_pure.files.reading import read_json
from lit_pure.runs import checkpoints, origin
from lit_pure.runs import folder as runs
from lit_pure.runs.folder import MissingRun, Run
from lit_pure.runs.origin import LooseWeights

if TYPE_CHECKING:
    from lit_pure.restoring.contract import SquareRestorer

HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")
"""Owner and name of a repository."""
FILES = ("*.json", "*.yaml", "*.safetensors")
"""What is downloaded of a repository."""
REMEDY = "name a run, the folder of a run, or a folder that Restorer.save_pretrained, export or convert wrote"


@dataclass(frozen=True)
class Hub:
    """Where on the hub to look; arguments of `huggingface_hub.snapshot_download`."""

    revision: str | None = None
    token: str | bool | None = None
    cache_dir: str | Path | None = None
    local_files_only: bool = False


def find_restorer(name: str, settings: Sequence[str], hub: Hub) -> "SquareRestorer":
    """The restorer of the weights that are named; with these settings KEY=VALUE laid over theirs.

    Raises:
        ValueError: it names no weights (the message says what was looked for), or they are damaged.
        MissingRun: it names an experiment without a finished run, or a run that the weights need is missing.
        ConfigError: a setting does not exist, or is one that the weights are made for.
    """
    path = Path(name).expanduser()
    if path.is_dir() and (found := _in_folder(path, settings)):
        return found
    if path.is_file():
        return _in_file(path, settings)
    label = name.rstrip("/").removeprefix(f"{runs.ROOT}/")
    if run := runs.newest_finished(label):
        return _of_run(run, settings)
    if path.is_dir():
        raise ValueError(f"{name} is a folder without weights; {REMEDY}")
    _refuse_ours(label)
    looked = f"no file or folder {name}, no finished run {runs.ROOT / label}, no experiment {label}"
    if not HUB_NAME.fullmatch(name):
        raise ValueError(f"{name} names no weights: there is {looked}, and a repository of the hub is owner/name")
    if ours := _importing(name):
        first = "" if runs.newest_finished(ours) else f"import them: {runs.make_command(ours)}; then "
        raise MissingRun(f"{name} has the weights of {ours}; {first}name {ours}")
    return _in_repository(name, settings, hub, looked)


def _in_folder(folder: Path, settings: Sequence[str]) -> "SquareRestorer | None":
    """The restorer of a folder's weights; None where it says nothing of any."""
    if (folder / "weights").is_dir() and (folder / "config.yaml").is_file():
        return _of_run(Run(folder), settings)
    if (run := Run(folder.absolute().parent)).weights == folder.absolute() and (run.folder / "config.yaml").is_file():
        return _of_run(run, settings)
    if checkpoints.read(folder):
        raise ValueError(
            f"{folder} is a checkpoint of a training; write its weights first: lit-pure export {folder} OUT"
        )
    if (folder / checkpoints.FOLDER).is_dir():
        raise ValueError(
            f"{folder} is a run that is not finished; write its newest weights: lit-pure export {folder} OUT"
        )
    kind = read_json(folder / "config.json", REMEDY).get("kind") if (folder / "config.json").is_file() else ""
    if family := next((one for one in FAMILIES.values() if kind and one.folder_kind == kind), None):
        return family.restorer_in(folder, settings)
    if loose := origin.read(folder):
        return _of_loose(loose, settings) if kind else _of_converted(loose, settings)
    if kind:
        raise ValueError(
            f"{folder} has weights of kind {kind}, and nothing says with which settings and tokenizer; name the folder "
            f"of their run, or export them again, which writes {origin.FILE}"
        )
    return None


def _in_file(path: Path, settings: Sequence[str]) -> "SquareRestorer":
    if loose := origin.read(path):
        return _of_converted(loose, settings)
    if path.suffix == ".ckpt":
        return _of_checkpoint(path, settings)
    raise ValueError(f"{path}: nothing says whose weights these are ({origin.place(path).name} is missing); {REMEDY}")


def _of_run(run: Run, settings: Sequence[str]) -> "SquareRestorer":
    return restorer_of(run, settings_of(run, settings))


def _of_loose(loose: LooseWeights, settings: Sequence[str]) -> "SquareRestorer":
    return family_of(loose).restorer(loose, settings_of(loose, settings))


def _of_converted(loose: LooseWeights, settings: Sequence[str]) -> "SquareRestorer":
    """Weights in the official layout, read by way of our own."""
    with tempfile.TemporaryDirectory() as room:
        ours = replace(loose, holder=Path(room))
        read = read_back(loose.folder, ours, {role: ours.needed(role) for role in family_of(ours).beside})
        return _of_loose(replace(ours, settings=read), settings)


def _of_checkpoint(path: Path, settings: Sequence[str]) -> "SquareRestorer":
    """The restorer in the LightningModule of a file that a Trainer of Lightning wrote."""
    from lit_pure.lit.modules import load_module

    module: Any = load_module(path)
    if not isinstance(module.config, RestoringExperiment):
        raise family_of(module.config).restores_nothing(Run(path))
    experiment = laid_over(module.config, [f"restoring.color_fix={FIX}", *settings], str(path))
    with tempfile.TemporaryDirectory() as room:
        module.save_weights(Path(room), True)
        loose = LooseWeights(path, experiment, dict(module.hparams["needs"]), Path(room))
        return family_of(experiment).restorer(loose, experiment)


def _refuse_ours(name: str) -> None:
    """Raise MissingRun for an experiment whose run is missing: the hub is not asked for it."""
    try:
        known = not is_sweep(name) and bool(compose(runs.experiment_of(name)))
    except ConfigError:
        known = False
    if known or runs.versions(runs.experiment_of(name)):
        runs.require(name)


def _importing(repository: str) -> str | None:
    """The experiment that restores with the published weights of a repository."""
    for name in experiment_names():
        file = find_file(name, ROOTS)
        if file is None or repository not in file.path.read_text(encoding="utf-8"):
            continue  # composing all of them takes seconds
        experiment = compose(name)
        if experiment.source.repo == repository and isinstance(experiment, RestoringExperiment):
            return name
    return None


def _in_repository(name: str, settings: Sequence[str], hub: Hub, looked: str) -> "SquareRestorer":
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError

    try:
        downloaded = snapshot_download(
            name,
            revision=hub.revision,
            token=hub.token,
            cache_dir=hub.cache_dir,
            local_files_only=hub.local_files_only,
            allow_patterns=list(FILES),
        )
    except (OSError, HFValidationError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ValueError(f"{name} names no weights: there is {looked}, and the hub gave none ({reason})") from error
    found = _in_folder(Path(downloaded), settings)
    if found is None:
        raise ValueError(f"the repository {name} holds no restorer: none of ours wrote it; {REMEDY}")
    return found
