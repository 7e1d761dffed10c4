"""Matches pictures of several folders by their names; imports no torch.

Knows file names, what restoring tools add to them, and how to report a folder without partners. Knows nothing of
pixels. Names are compared without extension. An ending that a tool added (photo_x4.png) counts as part of the name
unless it is given: a wrong guess would score a picture against a different one.
"""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lit_pure.files.names import nfc
from lit_pure.images.files import FolderFiles, files_in, list_images, log_left_out

_SEPARATORS = "_-. "
"""Characters that an added ending begins with."""
_SHOWN = 3
"""Most file names in a message."""


@dataclass(frozen=True)
class Matches:
    """The pictures that folders share."""

    found: dict[str, tuple[Path, ...]]
    """One picture per folder by name, in the order of the folders; sorted by name."""
    left_out: list[tuple[Path, str]]
    """Pictures without partners, each with the reason."""
    maps: int
    """Number of entropy maps of `lit-pure restore`, which were ignored."""


def match(folders: Sequence[Path], endings: Sequence[str] = ()) -> Matches:
    """Match pictures that have the same name in all folders.

    Args:
        folders: without their sub-folders; the first one is evaluated.
        endings: endings to ignore in names, for example "_x4"; the longest that fits is removed.

    Raises:
        ValueError: a folder is missing or empty, or no name is in all of them; the message shows names of each.
    """
    found: list[dict[str, Path]] = []
    left_out: list[tuple[Path, str]] = []
    maps = 0
    for folder in folders:
        files = _files_of(folder)
        maps += len(files.maps)
        alone, several = _by_name(files.pictures, endings)
        found.append(alone)
        left_out += several
    common = set.intersection(*(set(pictures) for pictures in found))
    if not common:
        raise ValueError(_no_match_message(folders, found, left_out))
    for pictures in found:
        for name in sorted(set(pictures) - common):
            lacking = next(other for other, pictures in zip(folders, found, strict=True) if name not in pictures)
            left_out.append((pictures[name], f"no usable picture of this name in {lacking}"))
    return Matches({name: tuple(one[name] for one in found) for name in sorted(common)}, left_out, maps)


def _files_of(folder: Path) -> FolderFiles:
    """The files of a folder; the error for one without pictures names a sub-folder with pictures, if any."""
    files = files_in(folder)
    if not files.pictures:
        for inner in sorted(path for path in folder.iterdir() if path.is_dir()):
            try:
                count = len(files_in(inner).pictures)
            except (ValueError, OSError):
                continue
            if count:
                raise ValueError(f"{folder}: no pictures in it, but {count} in {inner}; give that folder")
        list_images(folder)  # raises
    log_left_out(folder, files)
    return files


def _by_name(paths: Sequence[Path], endings: Sequence[str]) -> tuple[dict[str, Path], list[tuple[Path, str]]]:
    """Pictures with unique names, and those without: either of a.jpg and a.png could be meant."""
    namesakes: dict[str, list[Path]] = {}
    for path in paths:
        namesakes.setdefault(_strip_ending(nfc(path.stem), endings), []).append(path)
    alone = {name: same[0] for name, same in namesakes.items() if len(same) == 1}
    several = [
        (path, f"{same[place - 1].name} has the same name; remove or rename one of them")
        for same in namesakes.values()
        if len(same) > 1
        for place, path in enumerate(same)
    ]
    return alone, several


def _strip_ending(name: str, endings: Sequence[str]) -> str:
    """The name without the longest ending that fits; never empty."""
    fitting = [ending for ending in map(nfc, endings) if name.endswith(ending) and name != ending]
    return name.removesuffix(max(fitting, key=len, default=""))


def _no_match_message(
    folders: Sequence[Path], found: Sequence[dict[str, Path]], left_out: Sequence[tuple[Path, str]]
) -> str:
    """Names of each folder, and the endings that would explain the difference, in one line."""
    if empty := [folder for folder, pictures in zip(folders, found, strict=True) if not pictures]:
        why = f"{left_out[0][0].name}: {left_out[0][1]}" if left_out else "entropy maps and hidden files do not count"
        return f"{empty[0]}: no usable picture ({why})"
    shown = "; ".join(
        f"{folder}: {', '.join(path.name for path in list(pictures.values())[:_SHOWN])}"
        + (", ..." if len(pictures) > _SHOWN else "")
        for folder, pictures in zip(folders, found, strict=True)
    )
    endings = _guess_endings([list(pictures) for pictures in found])
    stripped = [{_strip_ending(name, endings) for name in pictures} for pictures in found]
    explained = 2 * len(set.intersection(*stripped)) > min(len(pictures) for pictures in found)
    remedy = (
        f"if {' and '.join(endings)} was added to the names, give {_flag(endings)}"
        if explained
        else "rename the files of one folder, or give what was added to their names with --ignore-suffix"
    )
    return f"no name without extension is in all folders ({shown}); {remedy}"


def _flag(endings: Sequence[str]) -> str:
    """The flag as a shell takes it: one for each ending, joined by "=", since an ending may begin with a dash."""
    return " ".join(f"--ignore-suffix={shlex.quote(ending)}" for ending in endings)


def _guess_endings(names: Sequence[Sequence[str]]) -> list[str]:
    """Endings that may have been added: where the first name and the most similar one of each other folder differ."""
    mine, endings = names[0][0], set()
    for other in names[1:]:
        near = max(other, key=lambda name: (_shared_length(mine, name), -len(name)))
        same = len(mine[: _shared_length(mine, near)].rstrip(_SEPARATORS))
        endings |= {mine[same:], near[same:]}
    return sorted(ending for ending in endings if ending.startswith(tuple(_SEPARATORS)))


def _shared_length(one: str, other: str) -> int:
    """Length of the common beginning."""
    return next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
