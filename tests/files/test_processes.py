"""Worker processes have one thread, and none outlives the process that started it."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from lit_pure.files.processes import one_thread_each, usable_cores

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are looked up in /proc")
STARTS_ONE = """
import os, time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from lit_pure.files.processes import one_thread_each, start_worker
if __name__ == "__main__":
    with POOL as pool:
        print(pool.submit(os.getpid).result(), flush=True)
        pool.submit(time.sleep, 600).result()
"""
POOLS = ["one_thread_each(1)", "ProcessPoolExecutor(1, get_context('forkserver'), start_worker)"]


def alive(process: int) -> bool:
    """Whether it runs; one that nobody has reaped does not."""
    try:
        status = (Path("/proc") / str(process) / "stat").read_text()
    except OSError:
        return False
    return status.rpartition(") ")[2][:1] != "Z"


def wait_for_the_end_of(process: int) -> bool:
    for _ in range(600):
        if not alive(process):
            return True
        time.sleep(0.1)
    return False


def test_a_worker_has_one_thread() -> None:
    with one_thread_each(1) as pool:
        assert pool.submit(torch.get_num_threads).result() == 1
    assert 1 <= usable_cores() <= (os.cpu_count() or 1)


def test_after_an_error_nobody_waits_for_the_workers() -> None:
    with pytest.raises(KeyboardInterrupt), one_thread_each(1) as pool:
        worker = pool.submit(os.getpid).result()
        pool.submit(time.sleep, 600)
        raise KeyboardInterrupt
    assert wait_for_the_end_of(worker)


@pytest.mark.parametrize("pool", POOLS)
def test_a_worker_ends_with_a_process_that_is_killed(pool: str, tmp_path: Path) -> None:
    script = tmp_path / "starts_one.py"
    script.write_text(STARTS_ONE.replace("with POOL", f"with {pool}"))
    first = subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True)
    assert first.stdout is not None
    worker = int(first.stdout.readline())
    first.send_signal(signal.SIGKILL)
    first.wait()
    first.stdout.close()
    assert wait_for_the_end_of(worker)
