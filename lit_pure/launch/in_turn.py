"""Makes runs one after another on this machine, whatever becomes of the others.

Knows tasks, what a run leaves behind and what its exit status says; processes are `here.py`'s. Imports no torch.
"""

import signal
import sys
from collections.abc import Callable, Sequence
from typing import NoReturn

from lit_pure import runs
from lit_pure.launch.here import Processes
from lit_pure.launch.tasks import Task
from lit_pure.runs import Run
from lit_pure.stopped import STATUS, Stopped

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
