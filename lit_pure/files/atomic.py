"""Files that are complete or absent: no reader sees half of one, and no killed process leaves half of one.

Knows temporary names, renaming and digests. Knows nothing of what the files hold.
"""

import errno
import hashlib
import json
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_SHOWN = 32
"""Characters of a file's name in that of its unfinished file."""


def partial_path(path: Path, ending: str = ".tmp") -> Path:
    """A hidden name beside `path` that no other process uses, and that is short however long the file's own one is."""
    digest = hashlib.blake2b(os.fsencode(path.name), digest_size=4).hexdigest()
    kept = path.name if len(path.name) <= _SHOWN else f"{path.name[:_SHOWN]}.{digest}"
    return path.with_name(f".{kept}.{os.getpid()}{ending}")


@contextmanager
def whole_file(path: Path, partial: Path | None = None) -> Iterator[Path]:
    """Give a temporary path to write to. It replaces `path` if nothing fails inside, and is removed otherwise.

    Args:
        path: in an existing folder. A link is replaced, not followed.
        partial: the temporary path, in the same folder: renaming across disks is not atomic. Without it, a hidden name
            that no other process uses.

    Raises:
        OSError: the file cannot be renamed.
    """
    partial = partial or partial_path(path)
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def write_whole(path: Path, text: str, errors: str = "strict") -> None:
    """Write UTF-8 with line ends as they are; an existing file is replaced once all is written.

    Args:
        path: in an existing folder. A link stays, and the file it points to is replaced.
        text: the content.
        errors: how to encode characters that UTF-8 lacks, as in `str.encode`.

    Raises:
        OSError: the file cannot be written, or the path is not a regular file, for example a device. Nothing is left
            behind.
    """
    try:
        _require_file(path)  # renaming would put a file in place of /dev/null
        with whole_file(Path(os.path.realpath(path))) as partial:
            partial.write_text(text, encoding="utf-8", errors=errors, newline="\n")
    except OSError as error:  # name the file that was asked for, not the temporary one
        raise OSError(error.errno, error.strerror or str(error), str(path)) from error


def _require_file(path: Path) -> None:
    """OSError for something that exists and is not a regular file."""
    try:
        mode = path.stat().st_mode  # follows links
    except FileNotFoundError:
        return
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "is not a regular file; it is left as it is; name another", str(path))


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write an indented JSON file."""
    write_whole(path, json.dumps(content, indent=2) + "\n")


def require_writable(out: Path) -> None:
    """Make a folder and write a file to it as a test. Raises OSError with the remedy if that fails."""
    probe = out / f".probe.{os.getpid()}.tmp"
    try:
        out.mkdir(parents=True, exist_ok=True)
        probe.write_bytes(b"a test whether files can be written here")
        probe.unlink()
    except OSError as error:
        reason = f"cannot be written to: {error.strerror or error}; choose another folder with --out"
        raise OSError(error.errno, reason, str(out)) from error


def sha256(path: Path) -> str:
    """The SHA-256 digest of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
