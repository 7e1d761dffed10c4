"""The end of a process that was asked to stop: the signals, what is told, the exit status, SLURM's queue.

Knows nothing of what is stopped, and imports no torch.
"""

import logging
import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

log = logging.getLogger(__name__)

STATUS = 143
"""Exit status of a process that was stopped: 128 + SIGTERM, as shells count."""
REQUEUES = "SIGUSR1"
"""What SLURM sends before the time is up, where it is told to (`--signal=USR1@300`): the job goes back to its queue."""
SIGNALS = tuple(getattr(signal, name) for name in ("SIGTERM", REQUEUES) if hasattr(signal, name))
"""That ask a process to stop."""

GOES_ON = "the last complete checkpoint stands, and the same command goes on from it"
LOST_WORKER = "DataLoader worker"
"""What torch's error begins with where a data worker was killed; it comes wherever the main process is just then."""


class Stopped(SystemExit):
    """Ends this process on purpose. `message` is told in one line; of several processes only the first has one."""

    def __init__(self, message: str = "", status: int = STATUS) -> None:
        super().__init__(status)
        self.message, self.status = message, status


def first_process() -> bool:
    """Whether this is the first process of a launch, or the only one."""
    return all(os.environ.get(name, "0") == "0" for name in ("RANK", "LOCAL_RANK", "SLURM_PROCID"))


@contextmanager
def stopping_at_once() -> Iterator[None]:
    """Where nothing can be saved, the signals end what is done here with `Stopped`; files that are half made go."""
    if threading.current_thread() is not threading.main_thread():  # which alone may listen
        yield
        return
    here = os.getpid()

    def stop(number: int, frame: FrameType | None) -> None:
        if os.getpid() != here:  # a process that was forked: whoever forked it does the rest
            os._exit(STATUS)
        name, first = signal.Signals(number).name, first_process()
        if name == REQUEUES and first:
            requeue()
        raise Stopped(f"stopped by {name}; what was finished stays" if first else "")

    before = {number: signal.signal(number, stop) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def requeue() -> None:
    """Put this process's SLURM job back into its queue; nothing outside SLURM. Warns where it cannot be done."""
    job = os.environ.get("SLURM_JOB_ID")
    if job is None:
        return
    if array := os.environ.get("SLURM_ARRAY_JOB_ID"):
        job = f"{array}_{os.environ['SLURM_ARRAY_TASK_ID']}"
    try:
        done = subprocess.run(["scontrol", "requeue", job], capture_output=True, text=True, timeout=60)
        problem = done.stderr.strip() or f"exit status {done.returncode}" if done.returncode else ""
    except (OSError, subprocess.SubprocessError) as error:
        problem = str(error)
    if problem:
        log.warning("job %s did not go back into the queue (%s); submit it again: it goes on", job, problem)
    else:
        log.info("job %s is back in the queue", job)
