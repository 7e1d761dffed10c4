"""Tar shards: many photographs in few files, in WebDataset's layout.

A shard is an uncompressed tar; the files of one sample are adjacent and share one key: KEY.jpg, and KEY.txt with its
caption. WebDataset and LitData read such sets as streams, whose order depends on buffers, workers and the number of
processes. Here (seed, epoch, index) decides a sample, on any number of processes and after any interruption, so the
files are read by random access: `index.json` beside the shards holds offset, length and size of each photograph. It is
made once, when shards are written or first used; a photograph then costs one open and one read, like a separate file.
Compared with a folder, 95,000 files become a few hundred, and no header is read at start.

Knows the tar layout and the index. Knows nothing of which photographs are wanted (`sources.py`).
"""

import errno
import json
import logging
import os
import re
import tarfile
from collections.abc import Callable, Iterable
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import IO, Any

from tqdm import tqdm

from lit_pure.datasets.encoded import Photo, PhotoList
from lit_pure.files.atomic import write_whole
from lit_pure.files.reading import BROKEN
from lit_pure.images.files import is_picture
from lit_pure.images.io import BadImage, image_size

log = logging.getLogger(__name__)

INDEX = "index.json"
OURS = "lit-pure-shards-"
LAYOUT = f"{OURS}2"
"""The mark in our index files; an index with another number is rebuilt."""

_KEY = re.compile(r"(?:.*/)?[^./]+(?=\.[^/]*$)")
"""WebDataset's key of a file: its path up to the first dot of the file name."""


def shard_paths(folder: Path) -> list[Path]:
    """The shards directly in a folder, sorted by name."""
    return sorted(path for path in folder.glob("*.tar") if path.is_file() and not path.name.startswith("."))


def read_shards(folder: Path) -> PhotoList:
    """All photographs in a folder's shards; those without a readable header are skipped.

    The index is built where it is missing or describes other shards, and saved where the folder is writable.

    Raises:
        ValueError: a shard is damaged or compressed, or the index is damaged.
    """
    shards = {path.name: path for path in shard_paths(folder)}
    found: list[Photo] = []
    skipped: list[tuple[Path, str]] = []
    for row in _load_index(folder, shards):
        try:
            path, name = shards[row["shard"]], str(row["name"])
            if "problem" in row:
                skipped.append((path / name, str(row["problem"])))
                continue
            size, text = (int(row["height"]), int(row["width"])), row.get("text")
            place = (int(row["bytes"]), size, int(row["start"]), (int(text[0]), int(text[1])) if text else None)
        except BROKEN as error:
            raise ValueError(f"{folder / INDEX}: damaged ({error!r}); delete it, and it is rebuilt") from error
        found.append(Photo(name, path, *place))
    return PhotoList(found, skipped)


def write_shards(
    photos: Iterable[Photo],
    folder: Path,
    shard_bytes: int = 2**30,
    caption: Callable[[Photo], str] | None = None,
) -> list[Path]:
    """Copy the encoded bytes of photographs into shards 000000.tar, 000001.tar, ..., and index them.

    The same photographs give the same files. Shards get their final names once all are written; leftovers of a killed
    call are removed.

    Args:
        photos: in the order in which they are written.
        folder: made where it is missing; must not contain shards yet.
        shard_bytes: a shard is closed before it would exceed this; a larger photograph gets its own shard.
        caption: written beside each photograph, unless it is empty.

    Returns:
        The shards.

    Raises:
        ValueError: the folder contains shards, no photographs are given, two of them have one key (dots in a name
            become "_", because WebDataset's keys end at the first dot), or one cannot be read (BadImage).
        OSError: a shard cannot be written; nothing is left behind.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if shard_paths(folder):
        raise ValueError(f"{folder}: already contains tar shards; give an empty folder")
    unfinished: list[Path] = []
    try:
        for left in folder.glob(".*.tar.*.tmp"):
            left.unlink()
        for number, samples in enumerate(_split_into_shards(photos, shard_bytes, caption)):
            unfinished.append(folder / f".{number:06d}.tar.{os.getpid()}.tmp")
            with tarfile.open(unfinished[-1], "w") as archive:
                for name, content in samples:
                    member = tarfile.TarInfo(name)  # no time and no owner: equal photographs make equal shards
                    member.size = len(content)
                    archive.addfile(member, BytesIO(content))
        if not unfinished:
            raise ValueError(f"{folder}: no photographs to write; give at least one")
        shards = [folder / f"{number:06d}.tar" for number in range(len(unfinished))]
        if _read_index(folder / INDEX):  # of earlier shards
            (folder / INDEX).unlink()
        for partial, shard in zip(unfinished, shards, strict=True):
            partial.replace(shard)
    except OSError as error:
        remedy = "; free some space and repeat" if error.errno == errno.ENOSPC else ""
        raise OSError(error.errno, f"cannot write the shard: {error.strerror or error}{remedy}", str(folder)) from error
    finally:
        for partial in unfinished:
            partial.unlink(missing_ok=True)
    _load_index(folder, {path.name: path for path in shards})
    return shards


def _split_into_shards(
    photos: Iterable[Photo], shard_bytes: int, caption: Callable[[Photo], str] | None
) -> Iterable[Iterable[tuple[str, bytes]]]:
    """The files of each shard, shard by shard: names and bytes, read lazily."""
    samples = _samples(photos, caption)
    ahead = next(samples, None)

    def one_shard() -> Iterable[tuple[str, bytes]]:
        nonlocal ahead
        filled = 0
        while ahead is not None:
            length = sum(_tar_bytes(len(content)) for _, content in ahead)
            if filled and filled + length > shard_bytes:
                return
            filled += length
            yield from ahead
            ahead = next(samples, None)

    while ahead is not None:
        yield one_shard()


def _samples(photos: Iterable[Photo], caption: Callable[[Photo], str] | None) -> Any:
    """The files of each photograph. Raises ValueError where two have the same key."""
    seen: dict[str, str] = {}
    for photo in photos:
        path = PurePosixPath(photo.name)
        key = path.with_name(path.stem.replace(".", "_")).as_posix()
        if key in seen:
            raise ValueError(f"{photo.place}: {seen[key]} has the same key {key}; rename one of them")
        seen[key] = photo.name
        files = [(f"{key}{path.suffix}", photo.content())]
        if caption is not None and (words := caption(photo)):
            files.append((f"{key}.txt", words.encode()))
        yield files


def _tar_bytes(length: int) -> int:
    """Size of a file inside a tar: its header, and its content in whole blocks."""
    return tarfile.BLOCKSIZE * (1 + -(-length // tarfile.BLOCKSIZE))


def _load_index(folder: Path, shards: dict[str, Path]) -> list[dict[str, Any]]:
    """A row for each photograph in the shards, from the index file if that describes these shards."""
    # Sizes alone do not identify shards: tars are rounded up to 10,240 bytes.
    path, states = folder / INDEX, {name: _shard_state(shard) for name, shard in shards.items()}
    stored = _read_index(path)
    rows: list[dict[str, Any]] = stored.get("photos", [])
    if stored.get("layout") == LAYOUT and stored.get("shards") == states and isinstance(rows, list):
        return rows
    log.info("%s: indexing the photographs of %d shards, once", folder, len(shards))
    bar = tqdm(shards.values(), "indexing shards", unit="shard", delay=3, disable=None)
    rows = [row for shard in bar for row in _rows(shard)]
    content = {"layout": LAYOUT, "shards": states, "photos": rows}
    try:
        if path.exists() and not stored:
            raise FileExistsError(errno.EEXIST, "a file that is not our index has this name")
        write_whole(path, json.dumps(content))
    except OSError as error:
        log.warning("%s cannot be saved (%s): it is rebuilt at every start", path, error.strerror or error)
    return rows


def _shard_state(shard: Path) -> list[int]:
    """What changes with a shard: its size [bytes] and modification time [ns]."""
    status = shard.stat()
    return [status.st_size, status.st_mtime_ns]


def _read_index(path: Path) -> dict[str, Any]:
    """Our index file, of any layout version; empty where it is missing."""
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
    except BROKEN:
        return {}
    return stored if isinstance(stored, dict) and str(stored.get("layout")).startswith(OURS) else {}


def _rows(shard: Path) -> list[dict[str, Any]]:
    """The index rows of one shard. Raises ValueError where it is not a complete, uncompressed tar."""
    try:
        with tarfile.open(shard, "r:") as archive:
            members = archive.getmembers()
            _check_end(shard, members)
            files = [member for member in members if member.isreg() and not member.issparse()]
            texts = {
                member.name: (member.offset_data, member.size)
                for member in files
                if member.name.endswith(".txt") and _has_text(archive.extractfile(member))
            }
            return [_row(shard, member, archive.extractfile(member), texts) for member in files if _is_photo(member)]
    except tarfile.TarError as error:
        raise ValueError(f"{shard}: not a complete, uncompressed tar ({error}); copy or unpack it again") from error


def _check_end(shard: Path, members: list[tarfile.TarInfo]) -> None:
    """Raise TarError unless zeros follow the last member: tarfile treats a damaged header as the end."""
    end = max((member.offset_data + _tar_bytes(member.size) - tarfile.BLOCKSIZE for member in members), default=0)
    with shard.open("rb") as file:
        file.seek(end)
        if file.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
            raise tarfile.ReadError(f"no end of archive after {len(members)} files")


def _is_photo(member: tarfile.TarInfo) -> bool:
    return is_picture(member.name)


def _has_text(content: IO[bytes] | None) -> bool:
    """Whether a caption contains any text."""
    return content is not None and bool(content.read().strip())


def _row(
    shard: Path, member: tarfile.TarInfo, content: IO[bytes] | None, texts: dict[str, tuple[int, int]]
) -> dict[str, Any]:
    """The index row of one photograph."""
    row: dict[str, Any] = {"name": member.name.removeprefix("./"), "shard": shard.name}
    row |= {"start": member.offset_data, "bytes": member.size}
    if (key := _KEY.match(member.name)) and (text := texts.get(f"{key[0]}.txt")):
        row["text"] = text
    try:
        row["height"], row["width"] = image_size(shard / row["name"], content)
    except BadImage as error:
        row["problem"] = str(error).removeprefix(f"{shard / row['name']}: ")
    return row
