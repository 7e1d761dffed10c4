"""One file from the network, whole or absent.

Knows HTTP, progress and digests. Knows nothing of what the file is for.
"""

import contextlib
import hashlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path


def download(url: str, path: Path, sha256: str = "") -> None:
    """Download `url` to `path` by way of a temporary name, with a progress bar on a terminal.

    Args:
        url: of the file.
        path: in an existing folder; what is already there is replaced once all is there and checked.
        sha256: the first digits of its digest, or none to check.

    Raises:
        OSError: no network, no such file, an answer that ends early, a full disk; nothing is left behind.
        ValueError: no address, or the digest differs.
    """
    import urllib.request  # slow, as the next one

    from tqdm import tqdm

    with whole(path, sha256) as partial, urllib.request.urlopen(url, timeout=60) as answer:
        length = int(answer.headers.get("Content-Length") or 0)
        with (
            partial.open("wb") as file,
            tqdm.wrapattr(answer, "read", length, desc=path.name, disable=None, leave=False) as source,
        ):
            shutil.copyfileobj(source, file)
        if length and (arrived := partial.stat().st_size) != length:
            raise OSError(f"it ended after {arrived:,} of {length:,} bytes; try again")


@contextlib.contextmanager
def whole(path: Path, sha256: str = "") -> Iterator[Path]:
    """A temporary name to write to; it becomes `path` if nothing failed and the digest begins with `sha256`.

    Raises ValueError if it does not.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")  # same folder: renaming across disks is not atomic
    try:
        yield partial
        if not (found := digest(partial)).startswith(sha256):
            raise ValueError(f"its sha256 begins {found[: len(sha256)]} instead of {sha256}")
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def digest(path: Path) -> str:
    """The sha256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
