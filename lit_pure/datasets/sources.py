"""Finds the photographs of a folder, a list, tar shards, or scikit-image.

Knows names, headers and reasons to leave a file out. Knows nothing of crops (`photos.py`), of low-quality partners
(`pairs.py`) or of the inside of a shard (`shards.py`).
"""

import codecs
import importlib.util
import logging
import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path, PurePosixPath

from tqdm import tqdm

from lit_pure.config.data import SKIMAGE, PhotosConfig
from lit_pure.config.project import locate, make_or
from lit_pure.datasets.encoded import Photo, PhotoList
from lit_pure.datasets.shards import read_shards, shard_paths
from lit_pure.files.names import as_on_disk, nfc
from lit_pure.images.files import EXTENSIONS, images_below, is_picture
from lit_pure.images.io import BadImage, image_size

log = logging.getLogger(__name__)

SKIMAGE_PHOTOS = (
    "astronaut.png",
    "chelsea.png",
    "coffee.png",
    "hubble_deep_field.jpg",
    "ihc.png",
    "motorcycle_left.png",
    "motorcycle_right.png",
    "retina.jpg",
    "rocket.jpg",
)
"""The colour photographs in scikit-image's wheel; both motorcycles are a stereo pair, so keep them in one set."""

MANY = 5000
"""From this number of photographs on, reading headers takes so long that a message says so."""

_LISTED = re.compile(r"(?P<path>.*?\S)(?:\s+\((?P<height>[1-9]\d*), ?(?P<width>[1-9]\d*), ?\d+\))?")
NO_FILE = "no such file"
_WANTED = "expected a line like a/b.png (480,640,3) or a/b.png"


def find_photos(config: PhotosConfig, least_side: int) -> PhotoList:
    """The usable photographs that a configuration names, by their headers or by the sizes in a list.

    Args:
        config: source, list and names.
        least_side: least shorter side of a photograph [px].

    Raises:
        ValueError: the source, the list or a name does not exist, or no photograph is usable (gives the reasons).
    """
    if config.meta_info:
        candidates = _read_list(locate(config.meta_info), config.source)
    elif config.source == SKIMAGE:
        candidates = _photos_from_files((name, _skimage_folder() / name) for name in SKIMAGE_PHOTOS)
    else:
        candidates = photos_in(Path(config.source))
    if config.names:
        candidates = PhotoList(_select_named(candidates.found, config), candidates.skipped)
    photos = keep_usable(candidates, least_side)
    if not photos.found:
        reasons = "; ".join(f"{path.name}: {reason}" for path, reason in photos.skipped[:10])
        where = config.meta_info or config.source
        looked = _looked_for(photos.skipped, config) if config.meta_info else ""
        raise ValueError(f"{where}: none of {len(photos.skipped)} photographs is usable ({reasons}){looked}")
    return photos


def photos_in(folder: Path) -> PhotoList:
    """All photographs of a folder: in its tar shards, or the files in it and its sub-folders.

    Links are followed; hidden files and folders are ignored.

    Raises:
        ValueError: the folder is missing, contains no picture, or contains both shards and pictures.
    """
    if not folder.is_dir():
        raise ValueError(f"{folder}: no such folder; give one with photographs")
    paths = images_below(folder)
    if shard_paths(folder):
        if paths:
            raise ValueError(f"{folder}: contains tar shards and pictures ({paths[0].name}); use two folders")
        return read_shards(folder)
    if not paths:
        raise ValueError(
            f"{folder}: no pictures in it or below (looked for {' '.join(EXTENSIONS)}), and no *.tar directly in it"
        )
    return _photos_from_files((path.relative_to(folder).as_posix(), path) for path in paths)


def keep_usable(photos: PhotoList, least_side: int) -> PhotoList:
    """The photographs that are large enough, with sizes, sorted by name; unreadable headers are skipped."""
    found: list[Photo] = []
    skipped = list(photos.skipped)
    unknown = sum(photo.size is None for photo in photos.found)
    if unknown > MANY:
        log.info("reading the headers of %s photographs; shards, or a list with sizes, avoid this", f"{unknown:,}")
    for photo in tqdm(photos.found, "reading headers", unit="photo", delay=3, disable=None):
        try:
            height, width = photo.size or image_size(photo.place)
        except BadImage as error:
            skipped.append((photo.place, str(error).removeprefix(f"{photo.place}: ")))
            continue
        if min(height, width) < least_side:
            skipped.append((photo.place, f"{height} x {width} px, shorter than {least_side}"))
        else:
            found.append(replace(photo, size=(height, width)))
    return PhotoList(sorted(found, key=lambda photo: nfc(photo.name)), skipped)


def _photos_from_files(files: Iterable[tuple[str, Path]]) -> PhotoList:
    """Photographs that are separate files, by name; missing files are skipped."""
    found: list[Photo] = []
    skipped: list[tuple[Path, str]] = []
    for name, path in files:
        try:
            found.append(Photo(name, path, path.stat().st_size))
        except OSError as error:
            skipped.append((path, NO_FILE if isinstance(error, FileNotFoundError) else str(error.strerror)))
    return PhotoList(found, skipped)


def _looked_for(skipped: Iterable[tuple[Path, str]], config: PhotosConfig) -> str:
    """Where the first missing file of a list was looked for, and what may be wrong with its line."""
    missing = next((path for path, reason in skipped if reason == NO_FILE), None)
    if missing is None:
        return ""
    line = missing.as_posix().removeprefix(Path(config.source).as_posix()).lstrip("/")
    if ", " in line and is_picture(line.partition(", ")[0]):
        hint = "it names two files; name one a line, and the folder of LQ pictures with lq"
    elif line.startswith("~"):
        hint = "~ is not expanded; write the whole path"
    elif missing.is_relative_to(config.source):
        hint = f"a path of the list continues source = {config.source!r}; correct one of them"
    else:
        hint = 'a path that begins with "/" does not continue source; take the "/" away, or write the whole path'
    return f"; looked for {missing}: {hint}"


def _read_list(path: Path, source: str) -> PhotoList:
    """The photographs of a list, each once; a file whose size is in the list is not opened.

    Raises ValueError where the list cannot be read or is empty.
    """
    root = Path(source)
    files: dict[str, Path] = {}
    sizes: dict[Path, tuple[int, int] | None] = {}
    for name, size in _read_lines(path):
        place = as_on_disk(root / name)
        files[nfc(_name_below(root, name))] = place
        sizes[place] = size
    if not files:
        raise ValueError(f"{path}: this list is empty; {_WANTED}")
    photos = _photos_from_files(files.items())
    return PhotoList([replace(photo, size=sizes[photo.path]) for photo in photos.found], photos.skipped)


def _read_lines(path: Path) -> Iterator[tuple[str, tuple[int, int] | None]]:
    """Path and size in each line of a BasicSR list. Raises ValueError naming file and line."""
    try:
        lines = path.read_bytes().removeprefix(codecs.BOM_UTF8).split(b"\n")
    except OSError as error:
        raise ValueError(f"{path}: cannot read this list ({error.strerror}); correct meta_info") from error
    for number, raw in enumerate(lines, start=1):
        try:
            line = raw.decode("utf-8").strip()
        except UnicodeDecodeError as error:
            raise ValueError(f"{path}, line {number}: not UTF-8 text; {_WANTED}") from error
        match = _LISTED.fullmatch(line)
        if line and (match is None or not is_picture(match["path"])):
            raise ValueError(f"{path}, line {number}: found {line[:80]!r}; {_WANTED}")
        if match:
            yield match["path"], (int(match["height"]), int(match["width"])) if match["height"] else None


def _name_below(root: Path, name: str) -> str:
    """The name of a listed file: its path below the root, or the whole path where it is elsewhere."""
    path = PurePosixPath(name)
    if path.is_absolute() and path.is_relative_to(root.absolute()):
        path = path.relative_to(root.absolute())
    return path.as_posix().lstrip("/")


def _skimage_folder() -> Path:
    """The folder of scikit-image's photographs, without importing scikit-image (slow)."""
    spec = importlib.util.find_spec("skimage")
    if spec is None or spec.origin is None:
        remedy = make_or("make setup", "pip install scikit-image")
        raise ValueError(f"source skimage: scikit-image is not installed; install it ({remedy}) or name a folder")
    return Path(spec.origin).parent / "data"


def _select_named(candidates: list[Photo], config: PhotosConfig) -> list[Photo]:
    """The candidates whose stems the configuration names. Raises ValueError for names that match none."""
    stems = sorted({_stem(photo) for photo in candidates})
    known = set(stems)
    wanted = {nfc(name) for name in config.names}
    if unknown := [name for name in config.names if nfc(name) not in known]:
        near = sorted({match for name in unknown for match in get_close_matches(name, stems)})
        hint = f"near: {', '.join(near)}" if near else f"there are {', '.join(stems[:10])}"
        raise ValueError(f"{config.source}: no photograph named {', '.join(unknown)} (without extension); {hint}")
    return [photo for photo in candidates if _stem(photo) in wanted]


def _stem(photo: Photo) -> str:
    """The name without folders and extension, in NFC."""
    return nfc(PurePosixPath(photo.name).stem)
