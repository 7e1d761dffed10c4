"""Which files of a folder are pictures, by their names. Knows nothing of their content, and imports no torch."""

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

EXTENSIONS = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp")
"""Extensions of pictures, in lower or upper case."""


def list_images(folder: Path) -> list[Path]:
    """The pictures directly in a folder, by extension, sorted by name.

    Raises:
        ValueError: the folder is missing, is a file, or contains no picture.
    """
    if folder.is_file():
        raise ValueError(f"{folder}: is a file; name its folder")
    if not folder.is_dir():
        raise ValueError(f"{folder}: no such folder; give one with photographs")
    found = sorted(path for path in folder.iterdir() if path.suffix.lower() in EXTENSIONS and path.is_file())
    if not found:
        raise ValueError(f"{folder}: no pictures in it (looked for {' '.join(EXTENSIONS)}, not in sub-folders)")
    return found


def list_photographs(places: Sequence[Path]) -> list[Path]:
    """The given files, and all pictures of the given folders. Raises ValueError where one does not exist."""
    found: list[Path] = []
    for place in places:
        found += list_images(place) if place.is_dir() else [place]
    if absent := [str(path) for path in found if not path.is_file()]:
        raise ValueError(f"no such file or folder: {', '.join(absent)}")
    return found


def names_of(paths: Sequence[Path]) -> list[str]:
    """A name for the pictures made from each file: its stem, with extension where two stems are equal.

    Raises ValueError where two would have the same name.
    """
    stems = Counter(path.stem for path in paths)
    names = [path.stem if stems[path.stem] == 1 else path.name for path in paths]
    if twice := sorted(name for name, count in Counter(names).items() if count > 1):
        raise ValueError(f"several photographs are named {', '.join(twice)}; rename them, or process them separately")
    return names


def files_below(folder: Path) -> list[Path]:
    """The files in a folder and its sub-folders, sorted; links are followed, hidden folders are ignored.

    Raises:
        OSError: a folder cannot be read.
    """
    if not folder.is_dir():
        return []
    found: list[Path] = []
    seen: set[str] = set()
    for place, folders, names in os.walk(folder, onerror=_raise, followlinks=True):
        real = os.path.realpath(place)
        new = real not in seen  # a link may lead back to a folder above
        seen.add(real)
        folders[:] = sorted(name for name in folders if new and not name.startswith("."))
        found += [Path(place, name) for name in names if new]
    return sorted(found)


def _raise(error: OSError) -> None:
    raise error


def images_below(folder: Path) -> list[Path]:
    """The pictures in a folder and its sub-folders, sorted."""
    return [path for path in files_below(folder) if is_picture(path.name)]


def is_picture(name: str) -> bool:
    """Whether a file is a picture, by its extension; hidden files are not."""
    return os.path.splitext(name)[1].lower() in EXTENSIONS and not os.path.basename(name).startswith(".")
