"""`bench degrade`: images per second of our degradation, beside the one composed of basicsr's functions or alone.

Knows photographs and the two pipelines, and lets them take turns so that both meet the same load of the machine.
Prints nothing.
"""

import random
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lit_pure.bench.basicsr_pipeline import BasicsrPipeline
from lit_pure.config.data import DegradationConfig, PhotosConfig
from lit_pure.datasets.photos import Crops
from lit_pure.degradation.pipeline import degrade
from lit_pure.images.io import from_bytes

Progress = Callable[[int], None]


@dataclass(frozen=True)
class SizeResult:
    """The figures of one size. Each round degrades as many batches with both pipelines, with new kernels each time."""

    size: int
    """Side of the HQ crops [px]."""
    batch: int
    basicsr: float
    """Images per second in the median round."""
    ours: float
    """Images per second in the median round."""
    ratio: float
    """The median of the rounds' ratios."""
    lowest: float
    highest: float
    """Lowest and highest ratio of a round."""


def compare(
    source: str,
    sizes: Sequence[tuple[int, int]],
    rounds: int,
    batches: int,
    progress: Callable[[str, int], Progress],
) -> Iterator[SizeResult]:
    """One result per size.

    Args:
        source: a folder of photographs, or `skimage`.
        sizes: side of the HQ crops [px, a multiple of 4 from 96] and images per batch.
        rounds: the median of these counts; one more comes before them for warm-up.
        batches: that each pipeline degrades in a round, in turns.
        progress: returns a function that is called with the number of finished batches.
    """
    config, theirs = DegradationConfig(), BasicsrPipeline()
    for size, batch in sizes:
        crops = Crops(PhotosConfig(source=source), size, seed=0, training=True)
        report = progress(f"{size} x {size}, batch {batch}", 2 * (rounds + 1) * batches)
        times: list[tuple[float, float]] = []
        for number in range(rounds + 1):
            seconds = [0.0, 0.0]
            for turn in range(batches):
                seed = number * batches + turn
                hq_B3HW = _batch(crops, seed, batch)
                _seed(seed)
                seconds[0] += _seconds(theirs.degrade, hq_B3HW, config)
                report(1)
                rngs = [np.random.default_rng([seed, index]) for index in range(batch)]
                seconds[1] += _seconds(degrade, hq_B3HW, config, rngs)
                report(1)
            times.append((seconds[0], seconds[1]))
        yield _result(size, batch, batches, times[1:])


@dataclass(frozen=True)
class DeviceResult:
    """How fast ours is on a device."""

    size: int
    """Side of the HQ crops [px]."""
    batch: int
    images_per_second: float
    """In the median round."""


def ours_alone(
    source: str,
    sizes: Sequence[tuple[int, int]],
    rounds: int,
    batches: int,
    progress: Callable[[str, int], Progress],
    device: torch.device,
) -> Iterator[DeviceResult]:
    """One result per size, on a device, whose batches lie there already; other arguments are those of `compare`."""
    config = DegradationConfig()
    for size, batch in sizes:
        crops = Crops(PhotosConfig(source=source), size, seed=0, training=True)
        report = progress(f"{size} x {size}, batch {batch}", (rounds + 1) * batches)
        times: list[float] = []
        for number in range(rounds + 1):
            seconds = 0.0
            for turn in range(batches):
                seed = number * batches + turn
                hq_B3HW = _batch(crops, seed, batch).to(device)
                rngs = [np.random.default_rng([seed, index]) for index in range(batch)]
                seconds += _seconds(lambda hq, rngs: degrade(hq, config, rngs)[0].sum().item(), hq_B3HW, rngs)
                report(1)
            times.append(seconds)
        yield DeviceResult(size, batch, batch * batches / statistics.median(times[1:]))


def _result(size: int, batch: int, batches: int, times: Sequence[tuple[float, float]]) -> SizeResult:
    basicsr, ours = (batch * batches / statistics.median(column) for column in zip(*times, strict=True))
    ratios = [theirs / mine for theirs, mine in times]
    return SizeResult(size, batch, basicsr, ours, statistics.median(ratios), min(ratios), max(ratios))


def _batch(crops: Crops, epoch: int, batch: int) -> Tensor:
    """hq_B3HW, [0, 1]."""
    start = epoch * batch
    return torch.stack([from_bytes(crops[epoch, (start + i) % len(crops)]["hq_3HW"]) for i in range(batch)])


def _seed(seed: int) -> None:
    """Seed the global generators, from which basicsr draws."""
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def _seconds(function: Callable[..., Any], *arguments: Any) -> float:
    start = time.perf_counter()
    function(*arguments)
    return time.perf_counter() - start
