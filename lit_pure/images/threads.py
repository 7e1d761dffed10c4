"""Sums that do not depend on the number of threads: torch rounds them differently when it shares them out.

Knows torch's number of threads. Knows nothing of what is computed.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def one_thread() -> Iterator[None]:
    """Torch computes with one thread; `set_num_threads` affects only the calling thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
