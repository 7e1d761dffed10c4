"""One file from the network, whole or absent.

Knows HTTP, progress and digests. Knows nothing of what the file is for.
"""

import contextlib
import glob
import hashlib
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

TIMEOUT = 60
"""Silence after which a download is given up [s]."""
ABANDONED = 10 * TIMEOUT
"""Age of the last byte after which nobody goes on with an unfinished file [s]."""


def download(url: str, path: Path, sha256: str = "") -> None:
    """Download `url` to `path` by way of a temporary name, with a progress bar on a terminal.

    Args:
        url: of the file.
        path: in an existing folder; what is already there is replaced once all is there and checked.
        sha256: the first digits of its digest, or none to check.

    Raises:
        OSError: no network, no such file, an answer that ends early or is none, a full disk; nothing is left behind.
        ValueError: no address, or the digest differs.
    """
    import http.client  # slow, as the next ones
    import urllib.request

    from tqdm import tqdm

    try:
        with whole(path, sha256) as partial, urllib.request.urlopen(url, timeout=TIMEOUT) as answer:
            length = int(answer.headers.get("Content-Length") or 0)
            with (
                partial.open("wb") as file,
                tqdm.wrapattr(answer, "read", length, desc=path.name, disable=None, leave=False) as source,
            ):
                shutil.copyfileobj(source, file)
            if length and (arrived := partial.stat().st_size) != length:
                raise OSError(f"it ended after {arrived:,} of {length:,} bytes; try again")
    except http.client.InvalidURL as error:
        raise OSError(f"it is no address: {error}; check it") from error
    except http.client.HTTPException as error:  # no OSError: cut within a chunk, or an answer that is not HTTP
        reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
        raise OSError(f"the answer is broken: {reason}; try again") from error


@contextlib.contextmanager
def whole(path: Path, sha256: str = "") -> Iterator[Path]:
    """A temporary name to write to; it becomes `path` if nothing failed and the digest begins with `sha256`.

    Raises ValueError if it does not.
    """
    _remove_abandoned(path)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")  # same folder: renaming across disks is not atomic
    try:
        yield partial
        if not (found := digest(partial)).startswith(sha256):
            raise ValueError(f"its sha256 begins {found[: len(sha256)]} instead of {sha256}")
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _remove_abandoned(path: Path) -> None:
    """Remove what killed processes left of a file: who is alive, here or on another machine, writes or gives up."""
    for partial in path.parent.glob(f".{glob.escape(path.name)}.*.partial"):
        with contextlib.suppress(OSError):  # another process removes it, or it is somebody else's
            if time.time() - partial.stat().st_mtime > ABANDONED:
                partial.unlink()


def digest(path: Path) -> str:
    """The sha256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
