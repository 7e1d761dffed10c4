"""Standard output and error, which may be gone before a command is: its terminal is closed, its pipe read no longer.

Knows how both are noticed. Knows nothing of what is printed.
"""

import contextlib
import errno
import io
import os
import select
import stat
import sys
from typing import Any

UNREAD = 141
"""Exit status where nobody reads what is printed, as behind `| head`: 128 + SIGPIPE, as in shells."""


class Terminal(io.FileIO):
    """A terminal; what is written once it is closed is dropped, so that no bar or last line ends a training."""

    def write(self, content: Any) -> int:
        try:
            return super().write(content)
        except OSError as error:
            if error.errno != errno.EIO:
                raise
        _drop(self.fileno())
        return super().write(content)


def prepare() -> None:
    """Let standard output and error outlast their terminal, and print what it lacks as escapes.

    So are names printed that are not UTF-8: no file's name ends a command.
    """
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if not isinstance(stream, io.TextIOWrapper):
            continue
        stream.reconfigure(errors="backslashreplace")
        if not stream.isatty() or isinstance(getattr(stream.buffer, "raw", None), Terminal):
            continue
        with contextlib.suppress(io.UnsupportedOperation):  # no file at all, as in tests
            stream.flush()
            lasting = io.BufferedWriter(Terminal(stream.fileno(), "w", closefd=False))
            setattr(sys, name, io.TextIOWrapper(lasting, stream.encoding, "backslashreplace", line_buffering=True))


def is_unread() -> bool:
    """Whether standard output is a pipe that nobody reads; what is left to print is dropped then."""
    try:
        sys.stdout.flush()
        unread = _is_closed(sys.stdout.fileno())
    except BrokenPipeError:
        unread = True
    except (OSError, ValueError):  # no file at all, as in tests
        return False
    if unread:
        _drop(sys.stdout.fileno())
    return unread


def _is_closed(number: int) -> bool:
    """Whether this is a pipe whose reader is gone: a failed write leaves nothing behind that could fail again."""
    if not hasattr(select, "poll"):
        return False
    watched = select.poll()
    watched.register(number, 0)
    return stat.S_ISFIFO(os.fstat(number).st_mode) and any(event & select.POLLERR for _, event in watched.poll(0))


def _drop(number: int) -> None:
    """From now on, what is written to this file descriptor goes nowhere."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, number)
    os.close(nowhere)
