"""Tar shards: many photographs in few files, as WebDataset lays them out.

A shard is an uncompressed tar; the files of one sample lie side by side under one key: KEY.jpg, and KEY.txt with its
caption. WebDataset and LitData read such sets as streams, whose order hangs on buffers, workers and the number of
processes. Here a sample is what (seed, epoch, index) says, on any number of processes and after any interruption, so
the same files are read at random: `index.json` beside the shards says where each photograph begins, how long it is and
how large. It is made once, by whoever wrote or first used the shards, and a photograph costs one open and one read, as
a file of its own does. What is gained over a folder: 95,000 files become a few hundred, and no header is read at start.

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
from lit_pure.images.files import EXTENSIONS
from lit_pure.images.io import BadImage, image_size

log = logging.getLogger(__name__)

INDEX = "index.json"
OURS = "lit-pure-shards-"
LAYOUT = f"{OURS}2"
"""What an index of ours says it is; those of other numbers are made again."""

_KEY = re.compile(r"(?:.*/)?[^./]+(?=\.[^/]*$)")
"""WebDataset's key of a file: its path up to the first dot of its name."""


def shard_paths(folder: Path) -> list[Path]:
    """The shards directly in a folder, sorted by name."""
    return sorted(path for path in folder.glob("*.tar") if path.is_file() and not path.name.startswith("."))


def read_shards(folder: Path) -> PhotoList:
    """Every photograph in a folder's shards; those without a readable header are skipped.

    The index is made where it is missing or tells of other shards, and kept where the folder can be written to.

    Raises:
        ValueError: a shard is damaged or compressed, or the index is.
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
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise ValueError(f"{folder / INDEX}: damaged ({error!r}); remove it, and it is made again") from error
        found.append(Photo(name, path, *place))
    return PhotoList(found, skipped)


def write_shards(
    photos: Iterable[Photo],
    folder: Path,
    shard_bytes: int = 2**30,
    caption: Callable[[Photo], str] | None = None,
) -> list[Path]:
    """Copy photographs into shards 000000.tar, 000001.tar, ..., byte by byte as they are encoded, and index them.

    The same photographs give the same files. Nothing is there under its final name before everything is written; what a
    killed packing left in the folder is removed.

    Args:
        photos: in the order in which they are to lie.
        folder: made where it is absent; must hold no shards yet.
        shard_bytes: a shard is closed before it would exceed this; a larger photograph has one by itself.
        caption: what is written beside each; nothing where it is empty.

    Returns:
        The shards.

    Raises:
        ValueError: the folder holds shards, there are no photographs, two of them have one key (dots in a name become
            "_", because WebDataset's keys end at the first one), or one cannot be read (BadImage).
        OSError: a shard cannot be written; nothing is left behind.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if shard_paths(folder):
        raise ValueError(f"{folder}: holds tar shards already; give an empty folder")
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
            raise ValueError(f"{folder}: there are no photographs to write")
        shards = [folder / f"{number:06d}.tar" for number in range(len(unfinished))]
        if _read_index(folder / INDEX):  # of shards that lay here before
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
    """The files of each shard, one shard after the other: names and bytes, read when they are asked for."""
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
    """The files of each photograph. Raises ValueError for two of one key."""
    seen: dict[str, str] = {}
    for photo in photos:
        path = PurePosixPath(photo.name)
        key = path.with_name(path.stem.replace(".", "_")).as_posix()
        if key in seen:
            raise ValueError(f"{photo.place}: its key {key} is that of {seen[key]}, too; rename one of them")
        seen[key] = photo.name
        files = [(f"{key}{path.suffix}", photo.content())]
        if caption is not None and (words := caption(photo)):
            files.append((f"{key}.txt", words.encode()))
        yield files


def _tar_bytes(length: int) -> int:
    """What a file takes in a tar: its header, and itself in whole blocks."""
    return tarfile.BLOCKSIZE * (1 + -(-length // tarfile.BLOCKSIZE))


def _load_index(folder: Path, shards: dict[str, Path]) -> list[dict[str, Any]]:
    """A row for each photograph in the shards, from the index file if that is of these shards."""
    # Sizes alone do not tell shards apart: tars are rounded up to 10,240 bytes.
    path, states = folder / INDEX, {name: _shard_state(shard) for name, shard in shards.items()}
    stored = _read_index(path)
    if stored.get("layout") == LAYOUT and stored.get("shards") == states:
        rows: list[dict[str, Any]] = stored.get("photos", [])
        return rows
    log.info("%s: looking where the photographs of %d shards begin, once", folder, len(shards))
    bar = tqdm(shards.values(), "indexing shards", unit="shard", delay=3, disable=None)
    rows = [row for shard in bar for row in _rows(shard)]
    content = {"layout": LAYOUT, "shards": states, "photos": rows}
    try:
        if path.exists() and not stored:
            raise FileExistsError(errno.EEXIST, "another file has this name")
        write_whole(path, json.dumps(content))
    except OSError as error:
        log.warning("%s cannot be kept (%s): it is made at every start", path, error.strerror or error)
    return rows


def _shard_state(shard: Path) -> list[int]:
    """What changes when a shard does: its size [bytes] and when it was written [ns]."""
    status = shard.stat()
    return [status.st_size, status.st_mtime_ns]


def _read_index(path: Path) -> dict[str, Any]:
    """An index file of ours, of any layout; empty where there is none."""
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return stored if isinstance(stored, dict) and str(stored.get("layout")).startswith(OURS) else {}


def _rows(shard: Path) -> list[dict[str, Any]]:
    """Where the photographs of one shard are. Raises ValueError where it is no whole, uncompressed tar."""
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
        raise ValueError(f"{shard}: not a whole, uncompressed tar ({error}); copy or unpack it again") from error


def _check_end(shard: Path, members: list[tarfile.TarInfo]) -> None:
    """Raise TarError unless zeros follow the last member: tarfile takes a damaged header for the end."""
    end = max((member.offset_data + _tar_bytes(member.size) - tarfile.BLOCKSIZE for member in members), default=0)
    with shard.open("rb") as file:
        file.seek(end)
        if file.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
            raise tarfile.ReadError(f"no end of archive after {len(members)} files")


def _is_photo(member: tarfile.TarInfo) -> bool:
    path = PurePosixPath(member.name)
    return path.suffix.lower() in EXTENSIONS and not path.name.startswith(".")


def _has_text(content: IO[bytes] | None) -> bool:
    """An empty caption is none."""
    return content is not None and bool(content.read().strip())


def _row(
    shard: Path, member: tarfile.TarInfo, content: IO[bytes] | None, texts: dict[str, tuple[int, int]]
) -> dict[str, Any]:
    """What the index says of one photograph."""
    row: dict[str, Any] = {"name": member.name.removeprefix("./"), "shard": shard.name}
    row |= {"start": member.offset_data, "bytes": member.size}
    if (key := _KEY.match(member.name)) and (text := texts.get(f"{key[0]}.txt")):
        row["text"] = text
    try:
        row["height"], row["width"] = image_size(shard / row["name"], content)
    except BadImage as error:
        row["problem"] = str(error).removeprefix(f"{shard / row['name']}: ")
    return row
