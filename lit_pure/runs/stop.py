"""How a process ends that was asked to stop: signals, message, exit status, SLURM's queue.

Knows nothing of what is stopped, and imports no torch.
"""

import logging
import os
import signal
import subprocess
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from types import FrameType

log = logging.getLogger(__name__)

EXIT_STATUS = 143
"""Exit status of a stopped process: 128 + SIGTERM, as in shells."""
INTERRUPTED = 130
"""The same after Ctrl-C: 128 + SIGINT."""
REQUEUE_SIGNAL = "SIGUSR1"
"""SLURM sends it before the time is up, if asked to (`--signal=USR1@300`): the job goes back into the queue."""
STOP_SIGNALS = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP", REQUEUE_SIGNAL) if hasattr(signal, name))
"""The signals that ask a process to stop, whatever it does; SIGHUP comes when its terminal is closed."""
TRAINING_STOPS = (*STOP_SIGNALS, signal.SIGINT)
"""The signals after which a training saves; Ctrl-C ends everything else at once, as Python does."""

RESUMES = "the last complete checkpoint is kept; the same command resumes from it"
LOST_WORKER = "DataLoader worker"
"""The beginning of torch's error for a killed data worker, which may be raised anywhere in the main process."""


class Stopped(SystemExit):
    """Ends this process on purpose. `message` is one line to print; of several processes only the first has one."""

    def __init__(self, message: str = "", status: int = EXIT_STATUS) -> None:
        super().__init__(status)
        self.message, self.status = message, status


def exit_status(number: int) -> int:
    """The exit status of a process that was stopped by this signal: 143 but for Ctrl-C."""
    return INTERRUPTED if number == signal.SIGINT else EXIT_STATUS


def heeded(signals: Iterable[int]) -> list[int]:
    """Those of these signals that whoever started this process does not want ignored, as `nohup` and `&` do."""
    return [number for number in signals if signal.getsignal(number) is not signal.SIG_IGN]


def first_process() -> bool:
    """Whether this process is the first or the only one of a launch."""
    return all(os.environ.get(name, "0") == "0" for name in ("RANK", "LOCAL_RANK", "SLURM_PROCID"))


@contextmanager
def stop_at_once() -> Iterator[None]:
    """A stop signal raises `Stopped` inside, for work that saves nothing; half-written files are removed."""
    if threading.current_thread() is not threading.main_thread():  # only the main thread can handle signals
        yield
        return
    here = os.getpid()

    def stop(number: int, frame: FrameType | None) -> None:
        if os.getpid() != here:  # a forked process: its parent does the rest
            os._exit(EXIT_STATUS)
        name, first = signal.Signals(number).name, first_process()
        if name == REQUEUE_SIGNAL and first:
            requeue()
        raise Stopped(f"stopped by {name}; finished work is kept" if first else "")

    before = {number: signal.signal(number, stop) for number in heeded(STOP_SIGNALS)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def requeue() -> None:
    """Put this process's SLURM job back into its queue. Does nothing outside SLURM; warns if it fails."""
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
        log.warning("job %s did not go back into the queue (%s); submit it again: it resumes", job, problem)
    else:
        log.info("job %s is back in the queue", job)
