"""Text files that are whole or absent: a reader, or a process that is killed, never meets half of one."""

import errno
import hashlib
import json
import os
import stat
from pathlib import Path
from typing import Any


def write_whole(path: Path, text: str, errors: str = "strict") -> None:
    """Write UTF-8 with line ends as they are; a file already there is replaced once all is written.

    Args:
        path: in an existing folder. Of a link, the file that it leads to is replaced, and the link stays.
        text: the content.
        errors: what becomes of characters that UTF-8 lacks, as `str.encode` takes it.

    Raises:
        OSError: it cannot be written, or there is something that is no file, such as a device; nothing is left behind.
    """
    unfinished: Path | None = None
    try:
        _require_file(path)  # renaming would put a file in place of /dev/null or of a folder's name
        target = Path(os.path.realpath(path))
        unfinished = target.with_name(f".{target.name}.{os.getpid()}.tmp")  # across disks, renaming is not atomic
        unfinished.write_text(text, encoding="utf-8", errors=errors, newline="\n")
        unfinished.replace(target)
    except OSError as error:  # tell the file that was asked for, not the one in between
        raise OSError(error.errno, error.strerror or str(error), str(path)) from error
    finally:
        if unfinished is not None:
            unfinished.unlink(missing_ok=True)


def _require_file(path: Path) -> None:
    """OSError for what is there and is no plain file."""
    try:
        mode = path.stat().st_mode  # of what a link leads to
    except FileNotFoundError:
        return
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "is no plain file, and is not replaced by one; name another", str(path))


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write a JSON file that is either whole or absent."""
    write_whole(path, json.dumps(content, indent=2) + "\n")


def require_writable(out: Path) -> None:
    """Make a folder and try it. Raises OSError with the remedy where nothing can be written to it."""
    probe = out / f".probe.{os.getpid()}.tmp"
    try:
        out.mkdir(parents=True, exist_ok=True)
        probe.write_bytes(b"written to find out whether it can be")
        probe.unlink()
    except OSError as error:
        reason = f"cannot be written to: {error.strerror or error}; choose another folder with --out"
        raise OSError(error.errno, reason, str(out)) from error


def sha256(path: Path) -> str:
    """The digest of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
