"""Downloads one file: afterwards it is complete, or absent.

Knows HTTP, progress and digests. Knows nothing of what the file is for.
"""

import contextlib
import glob
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from lit_pure.files import atomic

TIMEOUT = 60
"""Silence after which a download is given up [s]."""
ABANDONED = 10 * TIMEOUT
"""Age of the last byte after which an unfinished file counts as abandoned [s]."""


def download(url: str, path: Path, sha256: str = "") -> None:
    """Download `url` to `path`, with a progress bar on a terminal.

    Args:
        url: of the file.
        path: in an existing folder; an existing file is replaced once the new one is complete and checked.
        sha256: the first digits of its digest; empty checks nothing.

    Raises:
        OSError: no network, no such file, an incomplete or invalid answer, a full disk; nothing is left behind.
        ValueError: the URL is invalid, or the digest differs.
    """
    import http.client  # slow, as the next ones
    import urllib.request

    from tqdm import tqdm

    try:
        with checked_file(path, sha256) as partial, urllib.request.urlopen(url, timeout=TIMEOUT) as answer:
            length = int(answer.headers.get("Content-Length") or 0)
            with (
                partial.open("wb") as file,
                tqdm.wrapattr(answer, "read", length, desc=path.name, disable=None, leave=False) as source,
            ):
                shutil.copyfileobj(source, file)
            if length and (arrived := partial.stat().st_size) != length:
                raise OSError(f"it ended after {arrived:,} of {length:,} bytes; try again")
    except http.client.InvalidURL as error:
        raise OSError(f"it is not a valid URL: {error}; check it") from error
    except http.client.HTTPException as error:  # not an OSError: cut within a chunk, or an answer that is not HTTP
        reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
        raise OSError(f"the answer is broken: {reason}; try again") from error


@contextlib.contextmanager
def checked_file(path: Path, sha256: str = "") -> Iterator[Path]:
    """As `atomic.whole_file`. Raises ValueError if the digest of what was written does not begin with `sha256`."""
    _remove_abandoned(path)
    with atomic.whole_file(path, path.with_name(f".{path.name}.{os.getpid()}.partial")) as partial:
        yield partial
        if not (digest := atomic.sha256(partial)).startswith(sha256):
            raise ValueError(f"its sha256 begins {digest[: len(sha256)]} instead of {sha256}")


def _remove_abandoned(path: Path) -> None:
    """Remove what killed processes left: a live process, here or on another machine, writes or gives up in time."""
    for partial in path.parent.glob(f".{glob.escape(path.name)}.*.partial"):
        with contextlib.suppress(OSError):  # another process removes it, or it belongs to another user
            if time.time() - partial.stat().st_mtime > ABANDONED:
                partial.unlink()
