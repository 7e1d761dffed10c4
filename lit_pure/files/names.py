"""Names of files as people compare them: two names that look the same are the same.

A letter such as é is one code point, or a letter and an accent: file systems keep what they were given, and what was
unpacked on one machine may differ on another. All names are compared in one form, NFC; files keep the name they have.
Knows nothing of what files contain.
"""

import unicodedata
import zlib
from collections.abc import Iterable
from pathlib import Path


def nfc(name: str) -> str:
    """The form in which names are compared; bytes that are not UTF-8 (surrogates) stay as they are."""
    return name if name.isascii() else unicodedata.normalize("NFC", name)


def number_of(name: str) -> int:
    """A number that names an image for the noise of its drawing: the same name gives the same noise everywhere.

    Any name of a file will do, also one that is not UTF-8.
    """
    return zlib.crc32(nfc(name).encode("utf-8", "surrogateescape"))


def in_order(paths: Iterable[Path]) -> list[Path]:
    """Paths sorted by their parts in NFC: the same order whichever way a name is written."""
    return sorted(paths, key=lambda path: ([nfc(part) for part in path.parts], path))


def require_distinct(paths: Iterable[Path]) -> None:
    """Raises ValueError where two paths differ only in how their letters are composed."""
    seen: dict[str, Path] = {}
    for path in paths:
        if (other := seen.setdefault(nfc(str(path)), path)) != path:
            raise ValueError(
                f"{path.parent}: two files are named {path.name}, with letters composed differently "
                f"({other.name!a} and {path.name!a}); rename or remove one of them"
            )


def as_on_disk(path: Path) -> Path:
    """The existing file whose name equals this one in NFC; the path itself where none exists."""
    if str(path).isascii() or path.exists() or path.parent == path:
        return path
    folder = as_on_disk(path.parent)
    wanted = nfc(path.name)
    same = (entry for entry in folder.iterdir() if nfc(entry.name) == wanted) if folder.is_dir() else ()
    return next(iter(same), folder / path.name)
