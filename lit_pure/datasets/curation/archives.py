"""Files in folders, tar and zip archives, one after the other, with paths of one form.

Knows how to read archives safely and how damage shows. Knows nothing of pictures, and writes nothing, so no member can
escape from a folder; paths that try are refused nevertheless.
"""

import gzip
import lzma
import os
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import NoReturn

SUFFIXES = (".tar.gz", ".tgz", ".tar", ".zip")


@dataclass(frozen=True)
class SourceFile:
    """A file in a folder or an archive."""

    path: str
    """Name of the source folder, of the archive without suffix, and the path inside it, separated by "/"."""
    origin: str
    """The archive and the path inside it, or the file, for messages."""
    size: int
    """[bytes]"""
    read: Callable[[], bytes]
    """Its content; for a member of an archive, call it before taking the next member. Raises ValueError."""
    file: Path | None = None
    """Its path where it is a separate file."""
    link: bool = False
    """Whether it is a link or a device instead of a file."""


def archives_in(source: Path) -> list[Path]:
    """All archives in a folder and below, sorted; `source` itself where it is an archive."""
    if source.is_file():
        return [source] if archive_stem(source.name) else []
    return sorted(path for path in _files(source) if archive_stem(path.name))


def archive_stem(name: str) -> str:
    """The name without the suffix of an archive; empty where it is not an archive."""
    return next((name[: -len(end)] for end in SUFFIXES if name.lower().endswith(end)), "")


def files_in(source: Path) -> Iterator[SourceFile]:
    """The separate files in a folder and below."""
    for path in sorted(_files(source)) if source.is_dir() else []:
        place = PurePosixPath(os.path.basename(os.path.abspath(source)), path.relative_to(source).as_posix())
        yield SourceFile(str(place), str(path), path.stat().st_size, path.read_bytes, file=path)


def members_of(archive: Path, source: Path) -> Iterator[SourceFile]:
    """The files of an archive, in its order; files that systems add ("__MACOSX", hidden files) are left out.

    Raises:
        ValueError: the archive is damaged or truncated, or the path of a member leads out of it; names both.
    """
    stem = archive_stem(archive.name)
    above = os.path.basename(os.path.abspath(source)) if source.is_dir() else ""
    below = archive.relative_to(source).parent.as_posix() if source.is_dir() else ""
    for name, size, link, read in _zip_entries(archive) if archive.suffix.lower() == ".zip" else _tar_entries(archive):
        path = PurePosixPath(name.replace("\\", "/"))
        if path.is_absolute() or ".." in path.parts or (path.parts[:1] and path.parts[0].endswith(":")):
            raise ValueError(f"{archive}: its member {name!r} leads out of the archive; this is not the published one")
        if any(part.startswith((".", "__MACOSX")) for part in path.parts):
            continue
        yield SourceFile(str(PurePosixPath(above, below, stem, path)), f"{archive}: {name}", size, read, link=link)


def _files(folder: Path) -> Iterator[Path]:
    def unreadable(error: OSError) -> NoReturn:
        raise error  # os.walk would silently leave such a folder out

    for place, folders, names in os.walk(folder, onerror=unreadable, followlinks=True):
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield from (Path(place, name) for name in names if not name.startswith("."))


ArchiveEntry = tuple[str, int, bool, Callable[[], bytes]]
"""Name, bytes, whether it is a link, and its content."""


def _zip_entries(archive: Path) -> Iterator[ArchiveEntry]:
    with _report_damage(archive), zipfile.ZipFile(archive) as file:
        for info in file.infolist():
            if not info.is_dir():
                link = stat.S_ISLNK(info.external_attr >> 16)
                yield info.filename, info.file_size, link, partial(_read_entry, archive, file.read, info)


def _tar_entries(archive: Path) -> Iterator[ArchiveEntry]:
    with _report_damage(archive), tarfile.open(archive) as file:
        for info in file:
            if not info.isdir():
                yield info.name, info.size, not info.isreg(), partial(_read_entry, archive, _extract, file, info)
        # tarfile treats a missing or damaged header as the end. A complete archive ends with zeros, and gzip's
        # checksum is compared once all is read.
        assert file.fileobj is not None
        if file.fileobj.tell() < file.offset + tarfile.BLOCKSIZE:
            raise EOFError("no end mark")
        while rest := file.fileobj.read(2**20):
            if rest.strip(b"\0"):
                raise tarfile.ReadError("data that is not a header between its members")


def _extract(file: tarfile.TarFile, info: tarfile.TarInfo) -> bytes:
    content = file.extractfile(info)
    return content.read() if content else b""


def _read_entry(archive: Path, read: Callable[..., bytes], *given: object) -> bytes:
    with _report_damage(archive):
        return read(*given)


@contextmanager
def _report_damage(archive: Path) -> Iterator[None]:
    """Turn the errors of a damaged archive into one ValueError."""
    try:
        yield
    except (
        EOFError,
        RuntimeError,  # encrypted
        NotImplementedError,  # an unusual compression
        zlib.error,
        lzma.LZMAError,
        gzip.BadGzipFile,
        tarfile.TarError,
        zipfile.BadZipFile,
    ) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(
            f"{archive} is truncated or damaged ({reason}); fetch it again, unpacked files stay"
        ) from error
