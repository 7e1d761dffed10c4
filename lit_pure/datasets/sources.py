"""Which photographs there are: those of a folder, of a list, of tar shards, or inside scikit-image.

Knows names, headers and reasons to leave a file out. Knows nothing of crops (`photos.py`), of low-quality partners
(`pairs.py`) or of what is inside a shard (`shards.py`).
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
from lit_pure.datasets.encoded import Photo, PhotoList
from lit_pure.datasets.shards import read_shards, shard_paths
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
"""The colour photographs in scikit-image's wheel; the two motorcycles are a stereo pair, so keep them in one set."""

MANY = 5000
"""Photographs whose headers take long enough to read that somebody should be told."""

_LISTED = re.compile(r"(?P<path>.*?\S)(?:\s+\((?P<height>[1-9]\d*), ?(?P<width>[1-9]\d*), ?\d+\))?")
_WANTED = "expected a line like a/b.png (480,640,3) or a/b.png"


def find_photos(config: PhotosConfig, least_side: int) -> PhotoList:
    """The photographs that a configuration names, judged by their headers or by what a list says of them.

    Args:
        config: source, list and names.
        least_side: shorter side that a photograph must have [px].

    Raises:
        ValueError: the source, the list or a name does not exist, or no photograph is left; says why for each.
    """
    if config.meta_info:
        candidates = _read_list(Path(config.meta_info), config.source)
    elif config.source == SKIMAGE:
        candidates = _photos_from_files((name, _skimage_folder() / name) for name in SKIMAGE_PHOTOS)
    else:
        candidates = photos_in(Path(config.source))
    if config.names:
        candidates = PhotoList(_select_named(candidates.found, config), candidates.skipped)
    judged = keep_usable(candidates, least_side)
    if not judged.found:
        reasons = "; ".join(f"{path.name}: {reason}" for path, reason in judged.skipped[:10])
        where = config.meta_info or config.source
        raise ValueError(f"{where}: none of {len(judged.skipped)} photographs can be used ({reasons})")
    return judged


def photos_in(folder: Path) -> PhotoList:
    """Every photograph of a folder: those in its tar shards, or the files in it and its sub-folders.

    Links are followed, hidden files and folders are not looked at.

    Raises:
        ValueError: the folder is absent, holds no picture, or both shards and pictures.
    """
    if not folder.is_dir():
        raise ValueError(f"{folder}: no such folder; give one that holds photographs")
    paths = images_below(folder)
    if shard_paths(folder):
        if paths:
            raise ValueError(f"{folder}: holds tar shards and pictures ({paths[0].name}); keep them in two folders")
        return read_shards(folder)
    if not paths:
        raise ValueError(
            f"{folder}: no pictures in it or below (looked for {' '.join(EXTENSIONS)}), and no *.tar directly in it"
        )
    return _photos_from_files((path.relative_to(folder).as_posix(), path) for path in paths)


def keep_usable(photos: PhotoList, least_side: int) -> PhotoList:
    """Those large enough, all with their sizes, sorted by name; files without a readable header are skipped."""
    found: list[Photo] = []
    skipped = list(photos.skipped)
    unknown = sum(photo.size is None for photo in photos.found)
    if unknown > MANY:
        log.info("looking at the headers of %s photographs; shards, or a list with sizes, spare this", f"{unknown:,}")
    for photo in tqdm(photos.found, "looking at photographs", unit="photo", delay=3, disable=None):
        try:
            height, width = photo.size or image_size(photo.place)
        except BadImage as error:
            skipped.append((photo.place, str(error).removeprefix(f"{photo.place}: ")))
            continue
        if min(height, width) < least_side:
            skipped.append((photo.place, f"{height} x {width} px, shorter than {least_side}"))
        else:
            found.append(replace(photo, size=(height, width)))
    return PhotoList(sorted(found, key=lambda photo: photo.name), skipped)


def _photos_from_files(files: Iterable[tuple[str, Path]]) -> PhotoList:
    """Photographs that are files, by name; those that are absent are skipped."""
    found: list[Photo] = []
    skipped: list[tuple[Path, str]] = []
    for name, path in files:
        try:
            found.append(Photo(name, path, path.stat().st_size))
        except OSError as error:
            skipped.append((path, "no such file" if isinstance(error, FileNotFoundError) else str(error.strerror)))
    return PhotoList(found, skipped)


def _read_list(path: Path, source: str) -> PhotoList:
    """The photographs of a list, each once; where the size stands in the line, the file is not opened.

    Raises ValueError where the list cannot be read or names nothing.
    """
    root = Path(source)
    files: dict[str, Path] = {}
    sizes: dict[Path, tuple[int, int] | None] = {}
    for name, size in _read_lines(path):
        files[_name_below(root, name)] = root / name
        sizes[root / name] = size
    if not files:
        raise ValueError(f"{path}: this list is empty; {_WANTED}")
    there = _photos_from_files(files.items())
    return PhotoList([replace(photo, size=sizes[photo.path]) for photo in there.found], there.skipped)


def _read_lines(path: Path) -> Iterator[tuple[str, tuple[int, int] | None]]:
    """Path and size of each line of a BasicSR list. Raises ValueError naming the file, and the line."""
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
    """What a listed file is called: its path below the root, or the whole path where it is not below."""
    path = PurePosixPath(name)
    if path.is_absolute() and path.is_relative_to(root.absolute()):
        path = path.relative_to(root.absolute())
    return path.as_posix().lstrip("/")


def _skimage_folder() -> Path:
    """Where scikit-image keeps its photographs; found without importing it (slow)."""
    spec = importlib.util.find_spec("skimage")
    if spec is None or spec.origin is None:
        raise ValueError("source skimage: scikit-image is not installed; run `make setup` or name a folder")
    return Path(spec.origin).parent / "data"


def _select_named(candidates: list[Photo], config: PhotosConfig) -> list[Photo]:
    """Those candidates whose stems the configuration names; ValueError for names that match none."""
    stems = sorted({PurePosixPath(photo.name).stem for photo in candidates})
    known = set(stems)
    if unknown := [name for name in config.names if name not in known]:
        near = sorted({match for name in unknown for match in get_close_matches(name, stems)})
        hint = f"near: {', '.join(near)}" if near else f"there are {', '.join(stems[:10])}"
        raise ValueError(f"{config.source}: no photograph named {', '.join(unknown)} (without extension); {hint}")
    wanted = set(config.names)
    return [photo for photo in candidates if PurePosixPath(photo.name).stem in wanted]
