"""Which files of a folder are pictures, by their names. Knows of their content only our own mark; imports no torch.

One rule for all: the extension is that of a picture, the name is not hidden (a Mac puts `._a.png` beside `a.png`), and
the file is no map that `lit-pure restore` wrote beside its picture.
"""

import logging
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path, PurePath

from lit_pure.files.names import in_order, require_distinct

log = logging.getLogger(__name__)

EXTENSIONS = (
    *(".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp"),
    *(".jfif", ".jpe", ".mpo", ".avif", ".jp2", ".j2k", ".ppm", ".pgm", ".pnm", ".tga"),
)
"""Extensions of photographs that Pillow reads, in lower or upper case."""
MAP = "_entropy"
"""Ending of the maps that `lit-pure restore` writes beside its pictures; they are not photographs."""
MARK = "lit-pure map"
"""What a map says of itself, as a PNG's text of the keyword Software: its record may be gone."""
RECORD = ".json"
"""Extension of what `lit-pure restore` writes beside each picture."""
_NAMED = 5
"""Most extensions, or sub-folders, in a message."""
_WALKED = 100
"""Most folders that are looked at for pictures that a command leaves out: they are only told."""


@dataclass
class FolderFiles:
    """The visible files of a folder, each sorted."""

    pictures: list[Path] = field(default_factory=list)
    maps: list[Path] = field(default_factory=list)
    """Maps of `lit-pure restore`."""
    others: list[Path] = field(default_factory=list)
    """No pictures by their extension; without the records of `lit-pure restore`."""
    folders: list[Path] = field(default_factory=list)
    """Sub-folders with pictures that are not among these files."""


def is_picture(name: str) -> bool:
    """Whether a file is a picture, by its extension; hidden files are not."""
    return os.path.splitext(name)[1].lower() in EXTENSIONS and not os.path.basename(name).startswith(".")


def is_map(path: Path) -> bool:
    """Whether this is a map of `lit-pure restore`: it says so, or its picture and the record of that are beside it."""
    owner = path.stem.removesuffix(MAP)
    if not path.stem.endswith(MAP) or not owner:
        return False
    beside = (path.with_name(f"{owner}{extension}") for extension in (".png", RECORD))
    return all(file.is_file() for file in beside) or _is_marked(path)


def _is_marked(path: Path) -> bool:
    """Whether a PNG has our mark, right behind its size."""
    try:
        with path.open("rb") as file:
            return f"tEXtSoftware\0{MARK}".encode() in file.read(128)
    except OSError:  # who reads the picture says so
        return False


def sort_files(paths: Iterable[Path]) -> FolderFiles:
    """Visible files by what they are. Raises ValueError where two names of pictures look the same."""
    found = FolderFiles()
    for path in in_order(path for path in paths if not path.name.startswith(".")):
        if is_picture(path.name):
            (found.maps if is_map(path) else found.pictures).append(path)
        elif not (path.suffix == RECORD and path.with_suffix(".png").is_file()):
            found.others.append(path)
    require_distinct(found.pictures)
    return found


def files_in(folder: Path) -> FolderFiles:
    """The files directly in a folder. Raises ValueError where it is missing or is a file."""
    if folder.is_file():
        raise ValueError(f"{folder}: is a file; name its folder")
    if not folder.is_dir():
        raise ValueError(f"{folder}: no such folder; give one with photographs")
    beside = list(folder.iterdir())
    found = sort_files(path for path in beside if path.is_file())
    found.folders = in_order(path for path in beside if path.is_dir() and _has_photographs(path))
    return found


def _has_photographs(folder: Path) -> bool:
    """Whether there are pictures in a visible folder, or below it, but for those that `lit-pure restore` wrote."""
    if folder.name.startswith("."):
        return False
    for _, folders, names in islice(os.walk(folder), _WALKED):
        folders[:] = [name for name in folders if not name.startswith(".")]
        beside = set(names)
        stems = (os.path.splitext(name)[0].removesuffix(MAP) for name in names if is_picture(name))
        if any(f"{stem}{RECORD}" not in beside for stem in stems):
            return True
    return False


def list_images(folder: Path, named: Sequence[Path] = ()) -> list[Path]:
    """The pictures directly in a folder, sorted by name; the log says what is left out.

    Args:
        folder: without its sub-folders.
        named: what is listed besides, so that it is not left out.

    Raises:
        ValueError: the folder is missing, is a file, contains no picture, or two names that look the same.
    """
    found = files_in(folder)
    if not found.pictures:
        if found.folders:
            raise ValueError(f"{folder}: no pictures in it, but in {_some(found.folders)}; give such a folder")
        without = "hidden files and maps of lit-pure restore do not count"
        raise ValueError(f"{folder}: no pictures in it (looked for {' '.join(EXTENSIONS)}, {without})")
    found.folders = [path for path in found.folders if path not in named]
    log_left_out(folder, found)
    return found.pictures


def list_photographs(places: Sequence[Path]) -> list[Path]:
    """The given files, and all pictures of the given folders, each once. Raises ValueError where one does not exist."""
    found: list[Path] = []
    for place in places:
        found += list_images(place, places) if place.is_dir() else [place]
    if absent := [str(path) for path in found if not path.is_file()]:
        raise ValueError(f"no such file or folder: {', '.join(absent)}")
    return list(dict.fromkeys(found))


def log_left_out(folder: PurePath, files: FolderFiles) -> None:
    """Log what is left out of a folder: sub-folders, and files that are no pictures by their extension."""
    counts = Counter(path.suffix or "none" for path in files.others).most_common()
    if counts:
        shown = ", ".join(f"{extension} {count}" for extension, count in counts[:_NAMED])
        more = ", ..." if len(counts) > _NAMED else ""
        files_are = f"{len(files.others)} file{'s are' if len(files.others) > 1 else ' is'} left out"
        log.info("%s: %s, not pictures by extension (%s%s)", folder, files_are, shown, more)
    if files.folders:
        log.info("%s: pictures of sub-folders are left out (%s)", folder, _some(files.folders))


def _some(folders: Sequence[PurePath]) -> str:
    """The first of many folders."""
    return ", ".join(map(str, folders[:_NAMED])) + (", ..." if len(folders) > _NAMED else "")


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
    return in_order(found)


def _raise(error: OSError) -> None:
    raise error


def images_below(folder: Path) -> list[Path]:
    """The pictures in a folder and its sub-folders, sorted; files that are left out are counted in the log.

    Raises:
        ValueError: two names look the same.
        OSError: a folder cannot be read.
    """
    found = sort_files(files_below(folder))
    log_left_out(folder, found)
    return found.pictures
