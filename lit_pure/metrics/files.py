"""The weights of metrics: where they are, whether they are complete, and how to get them.

Knows folders, digests and addresses: the folders that pyiqa 0.1.16, torchvision and pyiqa's CLIP use themselves, so
that files they downloaded before are found. Knows nothing of the content of a file; imports no torch.
"""

import importlib.util
import os
import shutil
import sys
import sysconfig
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal
from urllib.parse import unquote

from lit_pure.config.project import command_to_install
from lit_pure.files import atomic
from lit_pure.files.download import checked_file, download
from lit_pure.metrics.table import METRICS, WeightsFile, info_of

State = Literal["present", "absent", "damaged"]
HUB = "https://huggingface.co"


class MissingWeights(ValueError):
    """Files of a metric are missing; the message says which, where they belong, and the command that gets them."""


def path_of(file: WeightsFile) -> Path:
    """Where a file belongs, also where the package that brings it is not installed."""
    if file.place == "basicsr":
        spec = importlib.util.find_spec("basicsr")  # importing it would take seconds
        found = Path(spec.origin).parent if spec and spec.origin else Path(sysconfig.get_path("purelib"), "basicsr")
        return found / file.name
    return hub_folder() / file.place / file.name


def hub_folder() -> Path:
    """The value of `torch.hub.get_dir()`, without importing torch."""
    if "torch.hub" in sys.modules:
        return Path(sys.modules["torch.hub"].get_dir())
    cache = os.environ.get("XDG_CACHE_HOME", "~/.cache")
    return Path(os.path.expanduser(os.environ.get("TORCH_HOME", os.path.join(cache, "torch")))) / "hub"


def remedy(keys: Iterable[str]) -> str:
    """The commands that get the files of metrics."""
    published = {key: any(file.url for file in info_of(key).files) for key in keys}
    wanted = [key for key, by_url in published.items() if by_url]
    commands = [f"lit-pure weights metrics --metrics {','.join(wanted)}"] if wanted else []
    return " and ".join(commands if all(published.values()) else [*commands, command_to_install("basicsr")])


def absent_files(keys: Iterable[str]) -> dict[str, list[WeightsFile]]:
    """The missing files, by metric. Raises ValueError for a metric that does not exist."""
    lacking = {key: [file for file in info_of(key).files if not path_of(file).is_file()] for key in keys}
    return {key: files for key, files in lacking.items() if files}


def require(keys: Sequence[str], missing: Literal["refuse", "skip"] = "refuse") -> tuple[list[str], list[str]]:
    """The metrics that can be measured, and those that are skipped because files are missing.

    Args:
        keys: metrics.
        missing: what to do about a metric whose files are missing.

    Raises:
        MissingWeights: a file is missing and `missing` is "refuse".
        ValueError: no such metric.
    """
    lacking = absent_files(keys)
    if lacking and missing == "refuse":
        needs = [f"{key} needs {', '.join(str(path_of(file)) for file in files)}" for key, files in lacking.items()]
        raise MissingWeights(f"missing: {'; '.join(needs)}; get them: {remedy(lacking)}")
    return [key for key in keys if key not in lacking], [key for key in keys if key in lacking]


def state_of(file: WeightsFile) -> State:
    """Whether a file is present, and undamaged where its publisher states a digest."""
    if not path_of(file).is_file():
        return "absent"
    return "present" if sha256(file).startswith(file.sha256) else "damaged"


def sha256(file: WeightsFile) -> str:
    """The digest of an existing file, computed once unless the file changes."""
    path = path_of(file)
    known = path.stat()
    return _cached_digest(path, known.st_size, known.st_mtime_ns)


@lru_cache(maxsize=64)
def _cached_digest(path: Path, size: int, changed: int) -> str:
    return atomic.sha256(path)


def verify(key: str) -> None:
    """Check that all files of a metric exist and have their digests. Raises MissingWeights, or ValueError."""
    require([key])
    for file in info_of(key).files:
        if state_of(file) == "damaged":
            wrong = f"its sha256 begins {sha256(file)[:8]}, not {file.sha256[:8]}"
            raise ValueError(damage_message(path_of(file), wrong, key))


def damage_message(path: Path, what: str, key: str) -> str:
    """A damaged file in one line, with the remedy."""
    return f"{path}, which {key} reads, is damaged ({what}); delete it and get it again: {remedy([key])}"


def identity(keys: Iterable[str]) -> dict[str, Any]:
    """What scores depend on: `{"pyiqa": version, "weights": {metric: {file: sha256}}}`.

    Metrics without files are not among the weights. Raises OSError where a file is missing.
    """
    weights = {key: {file.name: sha256(file) for file in METRICS[key].files} for key in keys if METRICS[key].files}
    from importlib.metadata import version  # slow to import, and not needed to report mistakes

    return {"pyiqa": version("pyiqa"), "weights": weights}


def fetch(file: WeightsFile, folder: Path | None = None) -> Path:
    """Put a file where it belongs, complete and checked or not at all; an existing file is replaced.

    Args:
        file: of a metric.
        folder: its folder on this machine; None downloads it, with a progress bar. Downloads from the Hugging Face hub
            use the mirror in HF_ENDPOINT, if set.

    Raises:
        ValueError: the file is missing or damaged; the message gives a remedy.
    """
    path = path_of(file)
    if not file.url:
        install = command_to_install(file.place)
        raise ValueError(f"{path} comes with {file.place}, which is missing or incomplete; install it: {install}")
    url = file.url.replace(HUB, os.environ.get("HF_ENDPOINT", HUB).rstrip("/"), 1)
    path.parent.mkdir(parents=True, exist_ok=True)
    if folder is not None:
        return _copy_from_folder(file, path, folder, url)
    try:
        download(url, path, file.sha256)
    except (OSError, ValueError) as error:
        raise ValueError(
            f"{url} cannot be downloaded ({error}); put {path.name} into a folder and give it: --from FOLDER"
        ) from error
    return path


def _copy_from_folder(file: WeightsFile, path: Path, folder: Path, url: str) -> Path:
    candidates = [folder / file.name, folder / unquote(file.name)]  # browsers decode names
    source = next(filter(Path.is_file, candidates), None)
    if source is None:
        raise ValueError(f"{folder} does not contain {file.name}; get it: {url}")
    try:
        with checked_file(path, file.sha256) as partial:
            shutil.copyfile(source, partial)
    except ValueError as error:
        raise ValueError(f"{source} is damaged ({error}); get it again: {url}") from error
    return path
