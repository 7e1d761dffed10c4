"""Published weights: which an experiment needs, where they are found, and how they become finished runs.

Knows run folders, local folders, the Hugging Face hub and GitHub's releases. Knows nothing of the layouts themselves
(`convert/`). What is imported is an ordinary run: a summary is written last, so an import that dies is not finished.
Torch is imported once there are weights to look at.
"""

import logging
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

from lit_pure.config.compose import compose, save
from lit_pure.config.experiment import Experiment, SourceConfig
from lit_pure.convert.layouts import Files, layout_of
from lit_pure.files.atomic import sha256, write_json
from lit_pure.files.download import download
from lit_pure.runs import folder as runs
from lit_pure.runs.folder import Run

log = logging.getLogger(__name__)

State = Literal["ok", "unchecked", "damaged", "absent"]
"""Of weights: digests agree; none were recorded; a file is missing, incomplete or changed; no finished run."""
PATTERN = frozenset("*?[")
WEIGHTS = (".safetensors", ".bin", ".pt", ".pth")
RELEASES = {"deresnet": "https://github.com"}
"""Layouts whose files are not on the Hugging Face hub but at a release of their repository there."""


@dataclass(frozen=True)
class Need:
    """One run that an experiment needs."""

    name: str
    """As it is asked for, with or without a version."""
    experiment: Experiment
    run: Run | None
    state: State
    note: str
    """What is wrong and what to do; empty where nothing is."""


def needed(experiment: Experiment) -> list[Need]:
    """All runs an experiment needs, each after those that it is built on itself; its own where that is published."""
    found: dict[str, Need] = {}
    for name in _direct(experiment):
        _walk(name, found, (experiment.name,))
    if runs.is_published(experiment):
        found[experiment.name] = _looked_at(experiment.name, experiment)
    return list(found.values())


def fetch(needs: Sequence[Need], folder: Path | None, command: Sequence[str]) -> list[Run]:
    """Import what of `needs` is published and not there (or damaged), from a folder or the network; the runs made.

    Raises ValueError in one line naming what was wanted and the remedy; what was imported before stays.
    """
    missing = [need for need in needs if need.state in ("absent", "damaged")]
    return [_imported(need, folder, command) for need in missing if runs.is_published(need.experiment)]


def _direct(experiment: Experiment) -> list[str]:
    """The runs an experiment names; who samples from weights takes all else from them."""
    needs = experiment.needs
    return [needs.weights] if needs.weights else [name for name in (needs.tokenizer, needs.dem) if name]


def _walk(name: str, found: dict[str, Need], before: tuple[str, ...]) -> None:
    run = runs.newest_finished(name)
    key = run.label if run else name
    if key in found or name in before:
        return
    experiment = run.experiment() if run else compose(runs.experiment_of(name))
    # A finished run keeps to the very runs it was built on.
    for below in run.needs().values() if run else _direct(experiment):
        _walk(below, found, (*before, name))
    found[key] = _looked_at(name, experiment)


def _looked_at(name: str, experiment: Experiment) -> Need:
    run = runs.newest_finished(name)
    if run is None:
        return Need(name, experiment, None, "absent", runs.make_command(name))
    from lit_pure.models import weights

    try:
        return Need(name, experiment, run, "ok" if weights.verify(run.weights) else "unchecked", "")
    except ValueError as error:
        remedy = f"; or: {runs.make_command(name)}" if runs.is_published(experiment) else ""
        return Need(name, experiment, run, "damaged", f"{error}{remedy}")


def _imported(need: Need, folder: Path | None, command: Sequence[str]) -> Run:
    """A finished run of a published checkpoint; a damaged one is mended where it stands, for others build on it."""
    experiment, source = need.experiment, need.experiment.source
    below = {role: runs.require(name) for role, name in asdict(experiment.needs).items() if name}
    download = _released if source.layout in RELEASES else _downloaded
    files = _local(source, folder) if folder else download(source)
    run = need.run or _next(experiment.name)
    log.info("importing %s from %s into %s", need.name, files.folder, run.folder)
    _refuse_small_disk(run.folder, sum(path.stat().st_size for path in files.paths), f"importing {need.name}")
    try:
        run.folder.mkdir(parents=True, exist_ok=True)
        if source.vocabulary and files.vocabulary is None:
            files = replace(files, vocabulary=_got(source.vocabulary, run.folder))
        remedy = f"download it again: {_page(source)}"
        made = layout_of(experiment).read(experiment, files, run, below, remedy)
    except BaseException:
        if not run.finished:
            shutil.rmtree(run.folder, ignore_errors=True)
        raise
    _introduce(experiment, run, below, files, command)
    row = {"name": experiment.name, "family": experiment.family, "base": experiment.base, "seed": experiment.seed}
    row |= {**made, "source": f"{source.repo}@{source.revision}"}
    write_json(run.folder / "summary.json", {**row, "skipped_photos": [], "pictures": []})
    return run


def _next(name: str) -> Run:
    """A new version, or the newest one where that is an import that died: published experiments are never trained."""
    known = runs.versions(name)
    if known and not known[-1].finished:
        return known[-1]
    number = int(known[-1].folder.name.removeprefix("version_")) + 1 if known else 0
    return Run(runs.ROOT / name / f"version_{number}")


def _introduce(experiment: Experiment, run: Run, below: dict[str, Run], files: Files, command: Sequence[str]) -> None:
    """Write down what was imported, and from where."""
    save(experiment, run.folder / "config.yaml")
    paths = [*files.paths, *([files.vocabulary] if files.vocabulary else [])]
    row = runs.provenance(experiment.seed, {role: need.label for role, need in below.items()}, {}, command)
    row["source"] = {**asdict(experiment.source), "sha256": {path.name: sha256(path) for path in paths}}
    write_json(run.folder / "provenance.json", row)


def _local(source: SourceConfig, folder: Path) -> Files:
    """The checkpoint in a folder, or in one below it named as the repository. Raises ValueError naming what lacks."""
    places = [folder, folder / source.repo.rpartition("/")[2]]
    vocabulary = next((path for place in places if (path := place / Path(source.vocabulary).name).is_file()), None)
    for place in places:
        paths = _without_duplicates(
            {path for name in source.files for path in place.glob(Path(name).name) if path.is_file()}
        )
        if not _lacking(source, [path.name for path in paths]):
            if source.vocabulary and vocabulary is None:
                raise ValueError(f"{folder} lacks {Path(source.vocabulary).name}; get it: {source.vocabulary}")
            return Files(place, paths, vocabulary)
    wanted = ", ".join([*source.files, *([Path(source.vocabulary).name] if source.vocabulary else [])])
    raise ValueError(f"neither {folder} nor {places[1]} holds {wanted} of {_page(source)}; put them there")


def _downloaded(source: SourceConfig) -> Files:
    """The checkpoint in the hub's cache; what was begun is continued. Raises ValueError saying how to do without."""
    from huggingface_hub import constants, snapshot_download

    online = source.vocabulary.startswith(("https://", "http://"))
    patterns = [*source.files, *([source.vocabulary] if source.vocabulary and not online else [])]
    try:
        plan = snapshot_download(source.repo, revision=source.revision, allow_patterns=patterns, dry_run=True)
        names = [str(path) for path in _without_duplicates({Path(file.filename) for file in plan})]
        size = sum(file.file_size or 0 for file in plan if file.will_download and file.filename in names)
    except (OSError, ValueError) as error:
        raise ValueError(_unreachable(source, _page(source), error)) from error
    if lacking := _lacking(source, names):
        raise ValueError(f"{_page(source)} has no {', '.join(lacking)}; set source.files, or source.revision")
    _refuse_small_disk(Path(constants.HF_HUB_CACHE), size, f"downloading {source.repo}")
    try:
        folder = Path(snapshot_download(source.repo, revision=source.revision, allow_patterns=names))
    except (OSError, ValueError) as error:
        raise ValueError(_unreachable(source, _page(source), error)) from error
    paths = [folder / name for name in names if name != source.vocabulary]
    # The files of a folder inside the repository lie in that folder.
    return Files(paths[0].parent, paths, None if online or not source.vocabulary else folder / source.vocabulary)


def _released(source: SourceConfig) -> Files:
    """The checkpoint in torch's cache, downloaded from a release where it is not there yet. Raises ValueError."""
    from torch import hub

    folder = Path(hub.get_dir()) / source.repo / source.revision
    folder.mkdir(parents=True, exist_ok=True)
    release = f"{RELEASES[source.layout]}/{source.repo}/releases/download/{source.revision}"
    paths = [folder / name for name in source.files]
    return Files(folder, [path if path.is_file() else _got(f"{release}/{path.name}", folder) for path in paths], None)


def _got(url: str, folder: Path) -> Path:
    """Download one file into a folder, whole or not at all."""
    path = folder / url.rpartition("/")[2]
    try:
        download(url, path)
    except (OSError, ValueError) as error:
        raise ValueError(
            f"{url} cannot be downloaded ({error}); put {path.name} into a folder and give it: --from FOLDER"
        ) from error
    return path


def _without_duplicates(paths: Iterable[Path]) -> list[Path]:
    """Sorted; pickles are left out where the same weights are there as safetensors."""
    found = sorted(paths)
    safe = any(path.name.endswith((".safetensors", ".safetensors.index.json")) for path in found)
    return [path for path in found if not safe or ".bin" not in path.suffixes]


def _lacking(source: SourceConfig, names: Sequence[str]) -> list[str]:
    """What is wanted by name and absent, or any weights at all."""
    have = {Path(name).name for name in names}
    absent = [name for name in source.files if not PATTERN & set(name) and Path(name).name not in have]
    return absent if absent or any(name.endswith(WEIGHTS) for name in have) else list(source.files)


def _unreachable(source: SourceConfig, what: str, error: Exception) -> str:
    reason = " ".join(str(error).split())[:200]
    wanted = ", ".join([*source.files, *([Path(source.vocabulary).name] if source.vocabulary else [])])
    return f"{what} cannot be downloaded ({reason}); put {wanted} into a folder and give it: --from FOLDER"


def _refuse_small_disk(folder: Path, size: int, what: str) -> None:
    """Raises ValueError before a disk would run full."""
    place = next(path for path in [folder.absolute(), *folder.absolute().parents] if path.exists())
    if (free := shutil.disk_usage(place).free) < 1.02 * size:
        raise ValueError(f"{what} writes {size / 1e9:.1f} GB, {place} has {free / 1e9:.1f} GB free; make room there")


def _page(source: SourceConfig) -> str:
    if source.layout in RELEASES:
        return f"{RELEASES[source.layout]}/{source.repo}/releases/tag/{source.revision}"
    return f"https://huggingface.co/{source.repo}"
