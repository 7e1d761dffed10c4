"""Ties what is written to what it is made of: no output replaces a source, and no two sources share an output.

Knows names, links and file systems that take two names for one. Knows nothing of pictures, nor of what is written.
"""

import errno
import os
import zlib
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from lit_pure.files.atomic import require_writable
from lit_pure.files.names import nfc

LONGEST_NAME = 255
"""Bytes of the longest name of a file on the usual file systems."""
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO)


class OutputClash(ValueError):
    """An output would replace a source, or the output of another source; the message names both."""


def plan_names(sources: Sequence[Path], folder: Path | None = None) -> list[str]:
    """A name for what is made of each file: its stem, with extension where two stems are equal.

    Args:
        sources: the files, also of several folders.
        folder: to write to; where its file system takes A for a, so does the comparison.

    Raises:
        OutputClash: two files would share a name.
    """
    sources = list(sources)
    folds = folder is not None and folds_case(folder)

    def key(name: str) -> str:
        return nfc(nfc(name).casefold()) if folds else nfc(name)

    stems = Counter(key(path.stem) for path in sources)
    names = [path.stem if stems[key(path.stem)] == 1 else path.name for path in sources]
    seen: dict[str, Path] = {}
    for path, name in zip(sources, names, strict=True):
        if key(name) in seen:
            both = f"{seen[key(name)]} and {path}"
            raise OutputClash(
                f"several photographs are named {name}; rename them, or process them separately, each into its own "
                f"folder ({both}: one result would replace the other)"
            )
        seen[key(name)] = path
    return names


def require_apart(outputs: Iterable[Path], sources: Iterable[Path]) -> None:
    """Refuse outputs that are sources, by whatever name or link, or that lie in a folder that is read.

    Args:
        outputs: files that will be written, whether they exist or not.
        sources: files and folders that are read.

    Raises:
        OutputClash: the message names both.
    """
    read: dict[tuple[int, int], Path] = {}
    for source in sources:
        if (number := _number(source)) is not None:
            read.setdefault(number, source)
    parents: dict[Path, Path | None] = {}
    for output in outputs:
        if output.parent not in parents:
            number = _number(output.parent)
            parents[output.parent] = read.get(number) if number else None
        if folder := parents[output.parent]:
            raise OutputClash(f"{folder} would be both read and written to ({output}); name another folder")
        if (number := _number(output)) is not None and number in read:
            raise OutputClash(f"{output} would replace {read[number]}, which is read; name another folder")


def require_single(outputs: Iterable[tuple[Path, Path]]) -> None:
    """Raises OutputClash where two of (source, output) have the same output."""
    seen: dict[str, Path] = {}
    for source, output in outputs:
        if (other := seen.setdefault(nfc(str(output)), source)) != source:
            raise OutputClash(f"{other} and {source} would both be written to {output}; rename one of them")


def require_nameable(path: Path) -> None:
    """Raises OSError where the file system refuses a name: too long, or with a character that it lacks."""
    fresh = not path.exists()
    path.open("ab").close()
    if fresh:
        path.unlink()


def folds_case(folder: Path) -> bool:
    """Whether a folder, which may not exist yet, takes A and a for one name. False where it cannot be told."""
    existing = next((place for place in (folder.absolute(), *folder.absolute().parents) if place.exists()), folder)
    named = next((place for place in (existing, *existing.parents) if place.name.swapcase() != place.name), None)
    try:
        return named is not None and named.with_name(named.name.swapcase()).samefile(named)
    except OSError:
        return False


def identify(path: Path) -> dict[str, Any]:
    """What identifies a source: its name, and its content by length and CRC-32. Raises OSError."""
    content = path.read_bytes()
    return {"file": nfc(path.name), "bytes": len(content), "crc32": f"{zlib.crc32(content):08x}"}


def ends_all(error: OSError, folder: Path) -> bool:
    """Whether an error of one output will meet all others in the folder too: the disk is full, or is gone."""
    if error.errno in _FULL:
        return True
    try:
        require_writable(folder)
    except OSError:
        return True
    return False


def _number(path: Path) -> tuple[int, int] | None:
    """What the file system calls a file or folder, links followed; None where none exists."""
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return None
    return status.st_dev, status.st_ino
