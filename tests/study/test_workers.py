"""The workers of a study compute with one thread each."""

import signal
import time

import pytest
import torch

from lit_pure.study.workers import worker_pool


@pytest.mark.parametrize("workers", [1, 2])
def test_pictures_are_computed_with_one_thread_whoever_does_it(workers: int) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)  # as on a machine of two cores
    try:
        with worker_pool(workers) as pool:
            assert pool.submit(torch.get_num_threads).result() == 1
        assert torch.get_num_threads() == 2, "what comes after computes as before"
    finally:
        torch.set_num_threads(before)


def test_ctrl_c_does_not_wait_for_the_pictures_under_way() -> None:
    with pytest.raises(KeyboardInterrupt), worker_pool(2) as pool:
        assert pool.submit(signal.getsignal, signal.SIGINT).result() is signal.SIG_IGN, "workers say nothing themselves"
        for _ in range(4):
            pool.submit(time.sleep, 600)
        raise KeyboardInterrupt
