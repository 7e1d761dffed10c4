"""Worker processes with one thread each. Knows how they start, and that they end with the process that started them.

Products as small as those of a square gain nothing from a second thread, whose partner waits by spinning; and sums over
other numbers of threads round differently. Knows nothing of the work. Imports no torch before a worker does.
"""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing.connection import wait
from typing import Any

from lit_pure.files.sharing import keep_sockets_short


def usable_cores() -> int:
    """Cores that this process may use; less than the machine has under a job scheduler."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def one_thread_each(
    workers: int, prepare: Callable[..., None] | None = None, arguments: tuple[Any, ...] = ()
) -> Iterator[ProcessPoolExecutor]:
    """A pool of processes; each calls `prepare` with `arguments` first. After an exception none is left at work.

    Raises ValueError if there is no short folder for sockets.
    """
    keep_sockets_short()
    start = multiprocessing.get_context("spawn")  # a fork would inherit locks of torch's threads
    with ProcessPoolExecutor(workers, start, start_worker, (prepare, *arguments)) as pool:
        try:
            yield pool
        except BaseException:
            abandon(pool)
            raise


def abandon(pool: ProcessPoolExecutor) -> None:
    """End the processes of a pool without waiting for what they are doing."""
    workers = list((pool._processes or {}).values())  # gone after the shutdown
    pool.shutdown(wait=False, cancel_futures=True)
    for worker in workers:
        worker.terminate()


def start_worker(prepare: Callable[..., None] | None = None, *arguments: Any) -> None:
    """What a worker of any pool does first: one thread, no Ctrl-C, and an end with the process that started it."""
    import torch

    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to all; the first process ends this one
    threading.Thread(target=_end_with_parent, daemon=True, name="parent").start()
    if prepare is not None:
        prepare(*arguments)


def _end_with_parent() -> None:
    """A pool's worker would wait for ever for the work of a process that was killed."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)
