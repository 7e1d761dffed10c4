"""Text files that are whole or absent: a reader, or a process that is killed, never meets half of one."""

import os
from pathlib import Path


def write_whole(path: Path, text: str, errors: str = "strict") -> None:
    """Write UTF-8 with line ends as they are; a file already there is replaced once all is written.

    Args:
        path: in an existing folder.
        text: the content.
        errors: what becomes of characters that UTF-8 lacks, as `str.encode` takes it.

    Raises:
        OSError: it cannot be written; nothing is left behind.
    """
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.tmp")  # same folder: renaming across disks is not atomic
    try:
        unfinished.write_text(text, encoding="utf-8", errors=errors, newline="\n")
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
