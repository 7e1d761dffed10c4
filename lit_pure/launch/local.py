"""Makes runs one after another on this machine, each in a process of its own, whatever becomes of the others.

So what one does, running out of memory included, leaves the others alone. Knows tasks, processes, signals, what a run
leaves behind and what its exit status says. Imports no torch.
"""

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from types import FrameType, TracebackType
from typing import NoReturn, Self

from lit_pure.launch.tasks import Task
from lit_pure.runs import folder as runs
from lit_pure.runs.folder import Run
from lit_pure.runs.stop import STATUS, Stopped

HANDED_ON = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1)
"""Signals that go to the running command. It has a session of its own, so the terminal's reach it through us, once."""
PR_SET_PDEATHSIG = 1
"""Linux: which signal a process gets when the one that started it ends."""
STOPPED = (128 + signal.SIGINT, STATUS)
"""Exit statuses of a run that was told to stop."""


def make_in_turn(tasks: Sequence[Task], say: Callable[[str], None]) -> tuple[dict[str, Run], dict[str, str]]:
    """Make the runs of tasks.

    Args:
        tasks: those that others need come before them.
        say: told which one begins.

    Returns: the runs that were made and why others were not, both by name.

    Raises Stopped or KeyboardInterrupt as a single run does, when a signal comes.
    """
    made, failed = dict[str, Run](), dict[str, str]()
    with Processes() as processes:
        for number, task in enumerate(tasks, 1):
            if lost := [need for need in task.needs if need in failed]:
                failed[task.name] = f"needs {lost[0]}, which failed"
                continue
            before = [run for run in runs.versions(task.name) if run.finished]
            say(f"\n[{number}/{len(tasks)}] {task.told}")
            sys.stdout.flush()
            status = processes.run(task.command)
            if processes.told or status in STOPPED:
                _stop(processes.told or status - 128, f"{task.name}, {len(tasks) - number} more not begun")
            new = [run for run in runs.versions(task.name) if run.finished and run not in before]
            if status or not new:
                failed[task.name] = _why(status)
            else:
                made[task.name] = new[-1]
    return made, failed


def _stop(number: int, where: str) -> NoReturn:
    """End as a single run does that got this signal."""
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    raise Stopped(f"stopped by {signal.Signals(number).name} in {where}; the same command goes on")


def _why(status: int) -> str:
    if status < 0:
        return f"ended by {signal.Signals(-status).name}" + ("; out of memory?" if -status == signal.SIGKILL else "")
    return f"exit status {status}" if status else "it left no finished run"


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
