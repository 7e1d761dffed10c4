"""`bench restore`: seconds per picture from LQ pixels to restored ones, and parameters (the paper's table 4).

Knows restorers by their contract, and reads the clock after each of their stages, once the device has finished. Timed
is everything between an LQ square in memory and the restored square, 8 bits, in memory: the way to the device,
enlargement, the restorer's stages, colours, the way back. Not timed: loading weights, reading and writing files, and
one restoration before that warms up. Prints nothing. Knows no family.

Shape legend: s side of the model's square [px], h w grid of codes, or LQ square [px].
"""

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lit_pure.bench.drafts import middle
from lit_pure.bench.memory import Peak
from lit_pure.config.data import SKIMAGE, PhotosConfig
from lit_pure.datasets.sources import find_photos
from lit_pure.images.files import list_images
from lit_pure.images.geometry import resizer
from lit_pure.images.io import to_bytes
from lit_pure.restoring.contract import LAST_STAGE, Progress, SquareRestorer


@dataclass(frozen=True)
class Timing:
    """One restoration."""

    stages: dict[str, float]
    """Seconds of each stage, in their order; the last, `colors`, includes the way back in 8 bits."""
    tokens: int
    """Of the answer, forced ones included."""
    passes: int
    """Of the model over the picture."""
    answering: float
    """Seconds that the tokens took."""

    @property
    def seconds(self) -> float:
        """From LQ pixels to restored ones."""
        return sum(self.stages.values())

    @property
    def tokens_per_second(self) -> float:
        """Of the model's answer, as everywhere: what goes before and after is left out."""
        return self.tokens / self.answering if self.tokens else 0.0


@dataclass(frozen=True)
class Complexity:
    """What a restoration costs. Of several restorations, medians; those of stages need not add up to that of all."""

    seconds_per_image: float
    seconds_lowest: float
    seconds_highest: float
    stages: dict[str, float]
    """Seconds per picture, by stage; of PURE encode, text (with reading the prompt), codes, decode, colors."""
    tokens: float
    tokens_per_second: float
    passes: float
    peak_mib: float | None
    """Most memory held meanwhile: of the device's tensors, or of the whole process on a CPU."""
    parameters: dict[str, int]
    """Of each part of the restorer, and their sum as `total`."""
    size: int
    """Side of the restored square [px]."""
    scale: int
    batch: int
    computing: dict[str, str]
    """How the model computes: engine, numbers, as the restorer calls them."""
    color_fix: str
    restorations: int
    photos: int
    """How many different ones were restored."""

    def record(self) -> dict[str, Any]:
        """As it is kept in complexity.json, where `computing` is not set apart."""
        content = vars(self).copy()
        return {**content.pop("computing"), **content}


def squares(source: str, side: int, most: int) -> list[tuple[str, Tensor]]:
    """Names and middle squares (3, side, side) of up to `most` photographs of a folder, or of `skimage`.

    Raises ValueError naming a photograph that cannot be read or is smaller.
    """
    if source == SKIMAGE:
        paths = [photo.path for photo in find_photos(PhotosConfig(source=SKIMAGE), side).found]
    else:
        paths = list_images(Path(source))
    return [(path.name, middle(path, side)) for path in paths[:most]]


def measure(
    restorer: SquareRestorer,
    photos: Sequence[tuple[str, Tensor]],
    repeat: int,
    progress: Callable[[str, int], Progress],
) -> Complexity:
    """Restore `repeat` squares one by one, the photographs in turn, after one that does not count.

    Args:
        restorer: on the device that is measured.
        photos: names, which decide the noise, and LQ squares (3, h, w) in [0, 1].
        repeat: restorations that count, at least 1.
        progress: makes a function that is told of tokens made.
    """
    length = restorer.expected_tokens
    told = progress("restoring", (repeat + 1) * length)
    peak = Peak(restorer.device)

    def timing(name: str, lq_3hw: Tensor) -> Timing:
        share = _Share(length, told)
        made, _ = restored(restorer, lq_3hw, name, share)
        share.close()
        return made

    timing(*photos[0])
    peak.reset()
    timings = [timing(*photo) for photo in islice(cycle(photos), repeat)]
    return _complexity(restorer, timings, peak.mib(), min(len(photos), repeat))


def restored(
    restorer: SquareRestorer, lq_3hw: Tensor, name: str, progress: Progress | None = None
) -> tuple[Timing, Tensor]:
    """Restore one square as `SquareRestorer.restore` does, stage by stage; seconds, and pixels (3, s, s) in 8 bits."""
    laps = _Laps(restorer.device)
    by = resizer(restorer.restoring.round_source)
    enlarged_13ss = by(lq_3hw[None].to(restorer.device), restorer.size, restorer.size)
    color_fix = restorer.restoring.color_fix
    [made] = restorer.restore_squares(enlarged_13ss, [name], color_fix=color_fix, progress=progress, clock=laps)
    pixels_3ss = to_bytes(made.image_3HW).cpu()
    laps(LAST_STAGE)
    return Timing(laps.stages, made.tokens, made.passes, made.seconds), pixels_3ss


class _Laps:
    """A clock that waits for the device, and notes the seconds of each stage."""

    def __init__(self, device: torch.device) -> None:
        self.device, self.stages = device, dict[str, float]()
        self._read = self._now()

    def __call__(self, stage: str, seconds: float | None = None) -> None:
        now = self._now()
        took = now - self._read if seconds is None else seconds
        self.stages[stage], self._read = took, self._read + took

    def _now(self) -> float:
        if self.device.type != "cpu":
            torch.accelerator.synchronize(self.device)
        return time.perf_counter()


class _Share:
    """Tells of `length` tokens in all, however many there are: nobody knows before how many words an answer has."""

    def __init__(self, length: int, told: Progress) -> None:
        self.left, self.told = length, told

    def __call__(self, count: int) -> None:
        step = min(count, self.left)
        self.left -= step
        self.told(step)

    def close(self) -> None:
        """Tell of what is left."""
        self(self.left)


def _complexity(restorer: SquareRestorer, timings: Sequence[Timing], peak_mib: float | None, photos: int) -> Complexity:
    seconds = [timing.seconds for timing in timings]
    parts = restorer.parts()
    counted = {name: sum(item.numel() for item in part.parameters()) for name, part in parts.items()}
    median = statistics.median
    return Complexity(
        seconds_per_image=median(seconds),
        seconds_lowest=min(seconds),
        seconds_highest=max(seconds),
        stages={name: median(timing.stages[name] for timing in timings) for name in timings[0].stages},
        tokens=median(timing.tokens for timing in timings),
        tokens_per_second=median(timing.tokens_per_second for timing in timings),
        passes=median(timing.passes for timing in timings),
        peak_mib=peak_mib,
        parameters={"total": sum(counted.values()), **counted},
        size=restorer.size,
        scale=restorer.scale,
        batch=1,
        computing=restorer.computing(),
        color_fix=restorer.restoring.color_fix,
        restorations=len(timings),
        photos=photos,
    )
