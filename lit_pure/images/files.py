"""Which files of a folder are pictures, by their names. Knows nothing of what is in them, and imports no torch."""

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

EXTENSIONS = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp")
"""What is taken for a picture, in any case."""


def list_images(folder: Path) -> list[Path]:
    """The pictures directly in a folder, by extension, sorted by name.

    Raises:
        ValueError: the folder is absent, is a file, or holds no picture.
    """
    if folder.is_file():
        raise ValueError(f"{folder}: is a file; name its folder")
    if not folder.is_dir():
        raise ValueError(f"{folder}: no such folder; give one that holds photographs")
    found = sorted(path for path in folder.iterdir() if path.suffix.lower() in EXTENSIONS and path.is_file())
    if not found:
        raise ValueError(f"{folder}: no pictures in it (looked for {' '.join(EXTENSIONS)}, not in sub-folders)")
    return found


def list_photographs(places: Sequence[Path]) -> list[Path]:
    """The files named, and all pictures of the folders named. Raises ValueError where one does not exist."""
    found: list[Path] = []
    for place in places:
        found += list_images(place) if place.is_dir() else [place]
    if absent := [str(path) for path in found if not path.is_file()]:
        raise ValueError(f"no such file or folder: {', '.join(absent)}")
    return found


def names_of(paths: Sequence[Path]) -> list[str]:
    """A name for each file's pictures: its own, with extension where two differ in that alone.

    Raises ValueError where two would have the same name.
    """
    stems = Counter(path.stem for path in paths)
    names = [path.stem if stems[path.stem] == 1 else path.name for path in paths]
    if twice := sorted(name for name, count in Counter(names).items() if count > 1):
        raise ValueError(
            f"several photographs are named {', '.join(twice)}; rename them, or reconstruct them separately"
        )
    return names


def files_below(folder: Path) -> list[Path]:
    """The files in a folder and its sub-folders, sorted; links are followed, hidden folders are not looked at.

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
    """The pictures among them, sorted."""
    return [path for path in files_below(folder) if is_picture(path.name)]


def is_picture(name: str) -> bool:
    """By its extension; hidden files are none."""
    return os.path.splitext(name)[1].lower() in EXTENSIONS and not os.path.basename(name).startswith(".")
