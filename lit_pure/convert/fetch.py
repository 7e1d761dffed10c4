"""Published weights: which ones an experiment needs, where to get them, and how to import them as finished runs.

Knows run folders, local folders, the Hugging Face hub and GitHub's releases. Knows nothing of the layouts themselves
(`convert/`). An import is an ordinary run: its summary is written last, so an interrupted import is not finished.
Imports torch only when there are weights to read.
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
"""Of weights: digests match; no digests were recorded; a file is missing, incomplete or changed; no finished run."""
PATTERN_CHARACTERS = frozenset("*?[")
WEIGHTS = (".safetensors", ".bin", ".pt", ".pth")
RELEASES = {"deresnet": "https://github.com"}
"""Layouts whose files are not on the Hugging Face hub but in a release of their repository -> its site."""
BY_HAND = {"nsarm": "https://github.com"}
"""Layouts whose files nobody can download without a browser: their repository says where they are -> its site."""


@dataclass(frozen=True)
class Need:
    """One run that an experiment needs."""

    name: str
    """As given in the experiment, with or without a version."""
    experiment: Experiment
    run: Run | None
    state: State
    note: str
    """What is wrong, and the remedy; empty if nothing is wrong."""


def list_needs(experiment: Experiment) -> list[Need]:
    """All runs that an experiment needs, each after its own needs; with the experiment's own run if it is published."""
    found: dict[str, Need] = {}
    for name in _direct_needs(experiment):
        _collect_needs(name, found, (experiment.name,))
    if runs.is_published(experiment):
        found[experiment.name] = _check_need(experiment.name, experiment)
    return list(found.values())


def fetch(needs: Sequence[Need], folder: Path | None, command: Sequence[str]) -> list[Run]:
    """Import published needs that are absent or damaged, from a folder or the network; returns the new runs.

    Raises ValueError that names the missing files and the remedy in one line; earlier imports stay.
    """
    missing = [need for need in needs if need.state in ("absent", "damaged")]
    return [_import(need, folder, command) for need in missing if runs.is_published(need.experiment)]


def _direct_needs(experiment: Experiment) -> list[str]:
    """The runs that an experiment names; with `needs.weights`, everything else comes from that run."""
    needs = experiment.needs
    return [needs.weights] if needs.weights else list(needs.made_first().values())


def _collect_needs(name: str, found: dict[str, Need], before: tuple[str, ...]) -> None:
    run = runs.newest_finished(name)
    key = run.label if run else name
    if key in found or name in before:
        return
    experiment = run.experiment() if run else compose(runs.experiment_of(name))
    # A finished run needs exactly the runs that it was made with.
    for below in run.needs().values() if run else _direct_needs(experiment):
        _collect_needs(below, found, (*before, name))
    found[key] = _check_need(name, experiment)


def _check_need(name: str, experiment: Experiment) -> Need:
    run = runs.newest_finished(name)
    if run is None:
        return Need(name, experiment, None, "absent", runs.make_command(name))
    from lit_pure.models import weights

    try:
        return Need(name, experiment, run, "ok" if weights.verify(run.weights) else "unchecked", "")
    except ValueError as error:
        remedy = f"; or: {runs.make_command(name)}" if runs.is_published(experiment) else ""
        return Need(name, experiment, run, "damaged", f"{error}{remedy}")


def _import(need: Need, folder: Path | None, command: Sequence[str]) -> Run:
    """A finished run of a published checkpoint; a damaged one is repaired in place, since other runs need it."""
    experiment, source = need.experiment, need.experiment.source
    below = {role: runs.require(name) for role, name in asdict(experiment.needs).items() if name}
    files = _find_in_folder(source, folder) if folder else _download(source)
    run = need.run or _next_run(experiment.name)
    log.info("importing %s from %s into %s", need.name, files.folder, run.folder)
    _refuse_small_disk(run.folder, sum(path.stat().st_size for path in files.paths), f"importing {need.name}")
    try:
        run.folder.mkdir(parents=True, exist_ok=True)
        if source.vocabulary and files.vocabulary is None:
            files = replace(files, vocabulary=_download_file(source.vocabulary, run.folder))
        remedy = f"download it again: {_page(source)}"
        entries = layout_of(experiment).read(experiment, files, run, below, remedy)
    except BaseException:
        if not run.finished:
            shutil.rmtree(run.folder, ignore_errors=True)
        raise
    _write_records(experiment, run, below, files, command)
    row = {"name": experiment.name, "family": experiment.family, "base": experiment.base, "seed": experiment.seed}
    row |= {**entries, "source": f"{source.repo}@{source.revision}"}
    write_json(run.folder / "summary.json", {**row, "skipped_photos": [], "pictures": []})
    return run


def _next_run(name: str) -> Run:
    """A new version, or the newest one if it is an unfinished import: published experiments are never trained."""
    known = runs.versions(name)
    if known and not known[-1].finished:
        return known[-1]
    number = int(known[-1].folder.name.removeprefix("version_")) + 1 if known else 0
    return Run(runs.ROOT / name / f"version_{number}")


def _write_records(
    experiment: Experiment, run: Run, below: dict[str, Run], files: Files, command: Sequence[str]
) -> None:
    """Record what was imported, and from where."""
    save(experiment, run.folder / "config.yaml")
    paths = [*files.paths, *([files.vocabulary] if files.vocabulary else [])]
    row = runs.provenance(experiment.seed, {role: need.label for role, need in below.items()}, {}, command)
    row["source"] = {**asdict(experiment.source), "sha256": {path.name: sha256(path) for path in paths}}
    write_json(run.folder / "provenance.json", row)


def _download(source: SourceConfig) -> Files:
    """Download the checkpoint from where its layout is published. Raises ValueError with the remedy."""
    if source.layout in BY_HAND:
        wanted = ", ".join(source.files)
        raise ValueError(
            f"{wanted} is on drives that need a browser; {_page(source)} names them. Download it, join its parts if "
            f"there are any (cat PART... > {wanted}), and give its folder: --from FOLDER"
        )
    return _download_release(source) if source.layout in RELEASES else _download_from_hub(source)


def _find_in_folder(source: SourceConfig, folder: Path) -> Files:
    """The checkpoint in a folder, or in its sub-folder named like the repository, or like that of the files in it.

    Raises ValueError if files lack.
    """
    folders = [folder, folder / source.repo.rpartition("/")[2], folder / Path(source.files[0]).parent]
    vocabulary = next((path for place in folders if (path := place / Path(source.vocabulary).name).is_file()), None)
    for place in folders:
        paths = _without_duplicates(
            {path for name in source.files for path in place.glob(Path(name).name) if path.is_file()}
        )
        if not _missing_files(source, [path.name for path in paths]):
            if source.vocabulary and vocabulary is None:
                raise ValueError(f"{folder} lacks {Path(source.vocabulary).name}; get it: {source.vocabulary}")
            return Files(place, paths, vocabulary)
    wanted = ", ".join([*source.files, *([Path(source.vocabulary).name] if source.vocabulary else [])])
    raise ValueError(f"neither {folder} nor {folders[1]} contains {wanted} of {_page(source)}; put the files there")


def _download_from_hub(source: SourceConfig) -> Files:
    """Download the checkpoint to the hub's cache, resuming a partial download. Raises ValueError with the remedy."""
    from huggingface_hub import constants, snapshot_download

    online = source.vocabulary.startswith(("https://", "http://"))
    patterns = [*source.files, *([source.vocabulary] if source.vocabulary and not online else [])]
    try:
        plan = snapshot_download(source.repo, revision=source.revision, allow_patterns=patterns, dry_run=True)
        names = [str(path) for path in _without_duplicates({Path(file.filename) for file in plan})]
        size = sum(file.file_size or 0 for file in plan if file.will_download and file.filename in names)
    except (OSError, ValueError) as error:
        raise ValueError(_download_message(source, _page(source), error)) from error
    if missing := _missing_files(source, names):
        raise ValueError(f"{_page(source)} has no {', '.join(missing)}; set source.files, or source.revision")
    _refuse_small_disk(Path(constants.HF_HUB_CACHE), size, f"downloading {source.repo}")
    try:
        folder = Path(snapshot_download(source.repo, revision=source.revision, allow_patterns=names))
    except (OSError, ValueError) as error:
        raise ValueError(_download_message(source, _page(source), error)) from error
    paths = [folder / name for name in names if name != source.vocabulary]
    # If the files are in a folder of the repository, that is their folder here.
    return Files(paths[0].parent, paths, None if online or not source.vocabulary else folder / source.vocabulary)


def _download_release(source: SourceConfig) -> Files:
    """Download the checkpoint from a release to torch's cache, unless it is there. Raises ValueError."""
    from torch import hub

    folder = Path(hub.get_dir()) / source.repo / source.revision
    folder.mkdir(parents=True, exist_ok=True)
    release = f"{RELEASES[source.layout]}/{source.repo}/releases/download/{source.revision}"
    paths = [folder / name for name in source.files]
    return Files(
        folder, [path if path.is_file() else _download_file(f"{release}/{path.name}", folder) for path in paths], None
    )


def _download_file(url: str, folder: Path) -> Path:
    """Download one file to a folder, completely or not at all."""
    path = folder / url.rpartition("/")[2]
    try:
        download(url, path)
    except (OSError, ValueError) as error:
        raise ValueError(
            f"{url} cannot be downloaded ({error}); put {path.name} into a folder and give it: --from FOLDER"
        ) from error
    return path


def _without_duplicates(paths: Iterable[Path]) -> list[Path]:
    """Sorted; pickles are left out if the same weights exist as safetensors."""
    found = sorted(paths)
    safe = any(path.name.endswith((".safetensors", ".safetensors.index.json")) for path in found)
    return [path for path in found if not safe or ".bin" not in path.suffixes]


def _missing_files(source: SourceConfig, names: Sequence[str]) -> list[str]:
    """The named files that are missing; all of them if there are no weights at all."""
    found = {Path(name).name for name in names}
    missing = [name for name in source.files if not PATTERN_CHARACTERS & set(name) and Path(name).name not in found]
    return missing if missing or any(name.endswith(WEIGHTS) for name in found) else list(source.files)


def _download_message(source: SourceConfig, what: str, error: Exception) -> str:
    reason = " ".join(str(error).split())[:200]
    wanted = ", ".join([*source.files, *([Path(source.vocabulary).name] if source.vocabulary else [])])
    return f"{what} cannot be downloaded ({reason}); put {wanted} into a folder and give it: --from FOLDER"


def _refuse_small_disk(folder: Path, size: int, what: str) -> None:
    """Raises ValueError before anything is written that does not fit on the disk."""
    place = next(path for path in [folder.absolute(), *folder.absolute().parents] if path.exists())
    if (free := shutil.disk_usage(place).free) < 1.02 * size:
        raise ValueError(f"{what} writes {size / 1e9:.1f} GB, {place} has {free / 1e9:.1f} GB free; make room there")


def _page(source: SourceConfig) -> str:
    if source.layout in RELEASES:
        return f"{RELEASES[source.layout]}/{source.repo}/releases/tag/{source.revision}"
    if source.layout in BY_HAND:
        return f"{BY_HAND[source.layout]}/{source.repo}"
    return f"https://huggingface.co/{source.repo}"
