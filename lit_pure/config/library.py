"""Finds experiment files, by name or by path, and reads what one sets.

Knows folders of experiments, and that a file may be given by its path. Knows nothing of bases and overrides
(`compose.py`), and no knob.
"""

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

from lit_pure.config.mistakes import ConfigError
from lit_pure.config.typed import text_of
from lit_pure.files.reading import read_text
from lit_pure.files.yaml12 import parse

FOLDER = "experiments"
SUFFIX = ".yaml"
SWEEP, SEARCH = VARY = ("sweep", "search")
"""The keys of a file that make variants of it; dotted keys below them stay as they are. No base passes them on."""


@dataclass(frozen=True)
class ExperimentFile:
    """One file of an experiment."""

    path: Path
    name: str
    """The path below a folder of experiments, without suffix."""
    complete: bool = False
    """Whether it is a run's config.yaml, which needs no base."""


def experiment_names(roots: Sequence[Path]) -> list[str]:
    """The names of all experiments below the folders, bases and sweeps included."""
    return sorted({path.relative_to(root).with_suffix("").as_posix() for root in roots for path in _files(root)})


def find_file(asked: str, roots: Sequence[Path]) -> ExperimentFile | None:
    """The file of an experiment in the first folder that has it, or at a path; None where there is none.

    Args:
        asked: demo, demo.yaml, experiments/demo.yaml, or the path of a YAML file anywhere, for example a run's.
        roots: folders of experiments.
    """
    stem = PurePath(asked.removesuffix(SUFFIX))
    below = stem.relative_to(FOLDER) if stem.is_relative_to(FOLDER) else stem
    if not stem.is_absolute() and ".." not in stem.parts:
        for name in dict.fromkeys((stem.as_posix(), below.as_posix())):
            for root in roots:
                if (path := root / f"{name}{SUFFIX}").is_file():
                    return ExperimentFile(path, name)
    path = Path(f"{stem}{SUFFIX}")
    return _at(path, roots) if path.is_file() else None


def require_file(asked: str, roots: Sequence[Path]) -> ExperimentFile:
    """As `find_file`. Raises ConfigError with the nearest name where there is none."""
    found = find_file(asked, roots)
    if found is None:
        known = experiment_names(roots)
        near = difflib.get_close_matches(asked.removesuffix(SUFFIX).removeprefix(f"{FOLDER}/"), known, n=1, cutoff=0.5)
        run = Path(asked) / "config.yaml"
        if run.is_file():
            near = [str(run)]
        hint = f"did you mean {near[0]}?" if near else f"there are: {', '.join(known)}"
        looked = roots[0] / f"{asked.removesuffix(SUFFIX).removeprefix(f'{FOLDER}/')}{SUFFIX}"
        raise ConfigError(f"no experiment {asked!r} (looked for {looked}); {hint}")
    return found


def load_keys(path: Path, undot: bool = True) -> dict[str, Any]:
    """The keys of a YAML file with their values, as `parse` returns them.

    Args:
        path: the file.
        undot: whether `optim.lr: 1` counts as `optim: {lr: 1}`, as on the command line.

    Raises:
        ConfigError: it cannot be read, is not YAML, or is no table.
    """
    try:
        text = read_text(path, "correct it")
    except ValueError as error:
        raise ConfigError(str(error)) from None
    try:
        loaded = parse(text)
    except ValueError as error:
        raise ConfigError(f"{path}: not valid YAML: {error}") from None
    if loaded is None:
        return {}
    if not isinstance(loaded, dict):
        raise ConfigError(f"{path}: expected keys and values, found {'a list' if isinstance(loaded, list) else 'text'}")
    return _undotted(loaded, str(path), "") if undot else loaded


def varies(path: Path) -> str:
    """Which of `VARY` an experiment's file has; "" is none. Raises ConfigError where it has both."""
    found = [key for key in VARY if key in load_keys(path)]
    if len(found) > 1:
        raise ConfigError(f"{path}: it has both sweep: and search:; give each a file of its own")
    return "".join(found)


def _undotted(values: dict[str, Any], source: str, below: str) -> dict[str, Any]:
    """Nested keys in place of dotted ones. Raises ConfigError where a key is set in both ways."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        name, _, rest = key.partition(".")
        if not below and key in VARY:
            found[key] = value
            continue
        value = {rest: value} if rest else value
        if name in found and not (isinstance(value, dict) and isinstance(found[name], dict)):
            raise ConfigError(f"{source}: {below}{name} is set twice; leave one of them")
        if name in found and (twice := set(value) & set(found[name])):
            raise ConfigError(f"{source}: {below}{name}.{min(twice)} is set twice; leave one of them")
        found[name] = {**found[name], **value} if name in found else value
    inside = {name: f"{below}{name}." for name, value in found.items() if isinstance(value, dict)}
    for key in VARY if not below else ():
        inside.pop(key, None)
    return found | {name: _undotted(found[name], source, prefix) for name, prefix in inside.items()}


def _files(root: Path) -> list[Path]:
    return [path for path in root.rglob(f"*{SUFFIX}") if path.is_file()]


def _at(path: Path, roots: Sequence[Path]) -> ExperimentFile:
    """The file at a path; its name is that below a folder of experiments, else the one in it, else its own path."""
    place = path.resolve()
    for root in roots:
        if place.is_relative_to(root.resolve()):
            return ExperimentFile(path, place.relative_to(root.resolve()).with_suffix("").as_posix())
    own = text_of(load_keys(path).get("name"))
    if own:
        if not isinstance(own, str) or PurePath(own).is_absolute() or ".." in PurePath(own).parts:
            raise ConfigError(f"{path}: name = {own!r}: expected that of an experiment, for example demo")
        return ExperimentFile(path, own, complete=True)
    here = Path.cwd().resolve()
    name = place.relative_to(here) if place.is_relative_to(here) else PurePath(place.name)
    return ExperimentFile(path, name.with_suffix("").as_posix())
