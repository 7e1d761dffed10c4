"""Which files of a folder are pictures, by their names. Knows nothing of what is in them, and imports no torch."""

import os
from pathlib import Path

EXTENSIONS = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp")
"""What is taken for a picture, in any case."""


def list_images(folder: Path) -> list[Path]:
    """The pictures directly in a folder, by extension, sorted by name.

    Raises:
        ValueError: the folder is absent, or holds no picture.
    """
    if not folder.is_dir():
        raise ValueError(f"{folder}: no such folder; give one that holds photographs")
    found = sorted(path for path in folder.iterdir() if path.suffix.lower() in EXTENSIONS and path.is_file())
    if not found:
        raise ValueError(f"{folder}: no pictures in it (looked for {' '.join(EXTENSIONS)}, not in sub-folders)")
    return found


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
