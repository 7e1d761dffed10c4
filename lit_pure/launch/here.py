"""Runs commands one after another on this machine, each in a process of its own.

So what one does, running out of memory included, leaves the others alone. Knows processes and signals; knows nothing of
what is run.
"""

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from types import FrameType, TracebackType
from typing import Self

HANDED_ON = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1)
"""Signals that go to the running command. It has a session of its own, so the terminal's reach it through us, once."""
PR_SET_PDEATHSIG = 1
"""Linux: which signal a process gets when the one that started it ends."""


class Processes:
    """A context in which `run` hands on the signals that come; `told` is the last one, 0 while there was none."""

    def __init__(self) -> None:
        self.told = 0
        self._running: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self._before = {number: signal.signal(number, self._hand_on) for number in HANDED_ON}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def run(self, command: Sequence[str]) -> int:
        """The exit status of a command; minus the number of the signal that ended it, if one did."""
        parent, libc = os.getpid(), ctypes.CDLL(None) if sys.platform == "linux" else None

        def end_with_parent() -> None:
            if libc is not None:
                libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
                if os.getppid() != parent:  # which ended before it was asked
                    os._exit(1)

        self._running = subprocess.Popen(command, start_new_session=True, preexec_fn=end_with_parent)
        if self.told:  # while it was being started
            self._running.send_signal(self.told)
        status = self._running.wait()
        self._running = None
        return status

    def _hand_on(self, number: int, frame: FrameType | None) -> None:
        self.told = number
        if self._running is not None:
            with suppress(ProcessLookupError):
                self._running.send_signal(number)
