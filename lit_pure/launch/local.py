"""Makes runs one after another on this machine, each in its own process.

So a run that fails, even by running out of memory, does not affect the others. Knows tasks, processes, signals, the
files of a run and the meaning of its exit status. Imports no torch.
"""

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from types import FrameType, TracebackType
from typing import NoReturn, Self

from lit_pure.launch.tasks import Task
from lit_pure.runs import folder as runs
from lit_pure.runs.folder import Run
from lit_pure.runs.stop import EXIT_STATUS, INTERRUPTED, Stopped, exit_status, heeded

FORWARDED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1)
"""Signals that we pass on to the running command, unless they were ignored before (`nohup`). It has its own session, so
the terminal's do not reach it twice."""
PR_SET_PDEATHSIG = 1
"""Linux: the signal that a process gets when its parent ends."""
STOPPED = (INTERRUPTED, EXIT_STATUS)
"""Exit statuses of a run that a signal stopped."""


def make_runs(tasks: Sequence[Task], report: Callable[[str], None]) -> tuple[dict[str, Run], dict[str, str]]:
    """Make the runs of tasks.

    Args:
        tasks: a task comes after those that it needs.
        report: called with a line when a task starts.

    Returns: the finished runs, and the reasons of failures, both by name.

    Raises Stopped as a single training does, when a signal comes.
    """
    made, failed = dict[str, Run](), dict[str, str]()
    with Processes() as processes:
        for number, task in enumerate(tasks, 1):
            if lost := [need for need in task.needs if need in failed]:
                failed[task.name] = f"needs {lost[0]}, which failed"
                continue
            before = [run for run in runs.versions(task.name) if run.finished]
            report(f"\n[{number}/{len(tasks)}] {task.shown}")
            sys.stdout.flush()
            status = processes.run(task.command)
            if processes.received or status in STOPPED:
                stop(processes.received or status - 128, f"{task.name}, {len(tasks) - number} more not started")
            new = [run for run in runs.versions(task.name) if run.finished and run not in before]
            if not status and task.experiment.trainer.debugging():
                continue  # a debug run never counts as finished
            if status or not new:
                failed[task.name] = reason_of(status)
            else:
                made[task.name] = new[-1]
    return made, failed


def stop(number: int, where: str) -> NoReturn:
    """End as a single run does after this signal."""
    message = f"stopped by {signal.Signals(number).name} in {where}; the same command resumes"
    raise Stopped(message, exit_status(number))


def reason_of(status: int) -> str:
    """Why there is no finished run, by the exit status of its process."""
    if status < 0:
        return f"ended by {signal.Signals(-status).name}" + ("; out of memory?" if -status == signal.SIGKILL else "")
    return f"exit status {status}" if status else "it left no finished run"


class Processes:
    """A context in which `run` forwards signals to its command; `received` is the last signal, 0 before the first."""

    def __init__(self) -> None:
        self.received = 0
        self._running: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self._before = {number: signal.signal(number, self._forward) for number in heeded(FORWARDED)}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def run(self, command: Sequence[str], environment: Mapping[str, str] | None = None) -> int:
        """Run a command; returns its exit status, or minus the number of the signal that ended it.

        After a signal nothing is started. Without an environment it is this process's own.
        """
        if self.received:
            return -self.received
        parent, libc = os.getpid(), ctypes.CDLL(None) if sys.platform == "linux" else None

        def end_with_parent() -> None:
            if libc is not None:
                libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
                if os.getppid() != parent:  # the parent ended before the call
                    os._exit(1)

        self._running = subprocess.Popen(command, env=environment, start_new_session=True, preexec_fn=end_with_parent)
        if self.received:  # during the start
            self._running.send_signal(self.received)
        status = self._running.wait()
        self._running = None
        return status

    def _forward(self, number: int, frame: FrameType | None) -> None:
        self.received = number
        if self._running is not None:
            with suppress(ProcessLookupError):
                self._running.send_signal(number)
