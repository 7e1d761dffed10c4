"""`bench restore --beside`: a photograph of many squares on one core, on all cores, and on all beside other work.

Knows clocks, and a process that only keeps a core busy. Prints nothing. Knows no family.
"""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median
from typing import Any

import torch
from torch import Tensor

from lit_pure.files.processes import usable_cores
from lit_pure.restoring.contract import SquareRestorer
from lit_pure.restoring.shared import shared
from lit_pure.restoring.tiled import restore_photo

BUSY = "while True: pass"
WAYS = {"one core": (1, False), "all cores": (0, False), "all cores, beside a busy process": (0, True)}
"""What is timed: `restoring.workers`, and whether another process is busy."""


@dataclass(frozen=True)
class Sharing:
    """Medians of the rounds [s], by way."""

    seconds: dict[str, float]
    cores: int
    side: tuple[int, int]
    """Height and width of the source [px]."""

    @property
    def ratios(self) -> dict[str, float]:
        """Over the time on one core alone."""
        alone = self.seconds["one core"]
        return {way: seconds / alone for way, seconds in self.seconds.items()}

    def record(self) -> dict[str, Any]:
        """For JSON."""
        return {"cores": self.cores, "source": list(self.side), "seconds": self.seconds, "ratios": self.ratios}


def compare(
    restorer: SquareRestorer, photo_3hw: Tensor, rounds: int, told: Callable[[str], None] = lambda way: None
) -> Sharing:
    """Restore a photograph each way in turn, `rounds` times; the processes that share it start before the clock.

    Args:
        restorer: on the CPU; its `restoring.workers` are changed.
        photo_3hw: in [0, 1].
        rounds: at least 1.
        told: is told of each way when it begins.

    Raises:
        RuntimeError: the pictures differ, so that there is nothing to compare.
    """
    taken: dict[str, list[float]] = {way: [] for way in WAYS}
    pictures: list[Tensor] = []
    for _ in range(rounds):
        for way, (workers, beside) in WAYS.items():
            told(way)
            restorer.restoring.workers = workers
            with shared(restorer) as own:
                restore_photo(own, photo_3hw[:, : photo_3hw.shape[1] // 2], "warm")  # the processes start
                with busy(beside):
                    began = time.perf_counter()
                    pictures.append(restore_photo(own, photo_3hw, "photo").pixels_3HW)
                    taken[way].append(time.perf_counter() - began)
    _require_same(pictures)
    height, width = photo_3hw.shape[1:]
    return Sharing({way: median(found) for way, found in taken.items()}, usable_cores(), (height, width))


@contextmanager
def busy(wanted: bool) -> Iterator[None]:
    """Another process computes meanwhile, if it is wanted."""
    process = subprocess.Popen([sys.executable, "-c", BUSY]) if wanted else None
    try:
        yield
    finally:
        if process is not None:
            process.kill()
            process.wait()


def _require_same(pictures: Sequence[Tensor]) -> None:
    if not all(torch.equal(pictures[0], other) for other in pictures):
        raise RuntimeError("the same photograph has other pixels with another number of processes")
