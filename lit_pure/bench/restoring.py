"""`bench restore`: seconds per picture from LQ pixels to restored ones, and parameters (the paper's table 4).

Knows the stations of a restoration, in the order of `Restorer.restore`, and reads the clock after each once the device
has done all its work. Timed is everything between an LQ square in memory and the restored square, 8 bits, in memory:
the way to the device, enlargement, encoding, prompt, text, codes, the decoded picture, colours, the way back. Not
timed: loading weights, reading and writing files, and one restoration before that warms up. Prints nothing.

Shape legend: s side of the model's square [px], h w grid of codes, or LQ square [px].
"""

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path

import torch
from torch import Tensor

from lit_pure.bench.drafts import middle
from lit_pure.bench.memory import Peak
from lit_pure.config.data import SKIMAGE, PhotosConfig
from lit_pure.datasets.sources import find_photos
from lit_pure.families.pure.restorer import Restorer, image_number
from lit_pure.families.pure.sampling.decode import decode
from lit_pure.families.pure.sampling.grammar import Grammar
from lit_pure.families.pure.sampling.passes import Progress
from lit_pure.images.colorfix import fix_colors
from lit_pure.images.files import list_images
from lit_pure.images.geometry import resize
from lit_pure.images.io import to_bytes


@dataclass(frozen=True)
class Timing:
    """One restoration."""

    stages: dict[str, float]
    """Seconds of each station, in their order; `text` includes reading the prompt, `colors` the way back in 8 bits."""
    tokens: int
    """Of the answer, forced ones included."""
    passes: int
    """Of the backbone over the picture."""

    @property
    def seconds(self) -> float:
        """From LQ pixels to restored ones."""
        return sum(self.stages.values())

    @property
    def tokens_per_second(self) -> float:
        """Of text and codes, as everywhere: what goes before and after is left out."""
        return self.tokens / (self.stages["text"] + self.stages["codes"])


@dataclass(frozen=True)
class Complexity:
    """What a restoration costs. Of several restorations, medians; those of stages need not add up to that of all."""

    seconds_per_image: float
    seconds_lowest: float
    seconds_highest: float
    stages: dict[str, float]
    """Seconds per picture: encode, text, codes, decode, colors."""
    tokens: float
    tokens_per_second: float
    passes: float
    peak_mib: float | None
    """Most memory held meanwhile: of the device's tensors, or of the whole process on a CPU."""
    parameters: dict[str, int]
    """Of backbone and tokenizer, each once, and their sum as `total`."""
    size: int
    """Side of the restored square [px]."""
    scale: int
    batch: int
    engine: str
    dtype: str
    """Of the backbone; the tokenizer computes in float32."""
    quantize: str
    color_fix: str
    restorations: int
    photos: int
    """How many different ones were restored."""


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
    restorer: Restorer,
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
    length = _grammar(restorer).image_length
    told = progress("restoring", (repeat + 1) * length)
    peak = Peak(next(restorer.backbone.parameters()).device)

    def timing(name: str, lq_3hw: Tensor) -> Timing:
        share = _Share(length, told)
        made, _ = restored(restorer, lq_3hw, name, share)
        share.close()
        return made

    timing(*photos[0])
    peak.reset()
    timings = [timing(*photo) for photo in islice(cycle(photos), repeat)]
    return _complexity(restorer, timings, peak.mib(), min(len(photos), repeat))


def restored(restorer: Restorer, lq_3hw: Tensor, name: str, progress: Progress | None = None) -> tuple[Timing, Tensor]:
    """Restore one square as `Restorer.restore` does, station by station; seconds, and pixels (3, s, s) in 8 bits."""
    lap = _Laps(next(restorer.backbone.parameters()).device)
    enlarged_13ss = resize(lq_3hw[None].to(lap.device), restorer.size, restorer.size)
    codes_1hw = restorer.tokenizer.encode(enlarged_13ss)
    prompt, grammar = restorer.assembler.prompt(codes_1hw[0]), _grammar(restorer)
    encoding = lap()
    decoded = decode(restorer.backbone, [prompt], grammar, restorer.sampling, [image_number(name)], codes_1hw, progress)
    answering = lap()
    made_13ss = restorer.tokenizer.decode(decoded.codes_Bhw)
    decoding = lap()
    fixed_13ss = fix_colors(made_13ss, enlarged_13ss, restorer.restoring.color_fix)
    pixels_3ss = to_bytes(fixed_13ss[0]).cpu()
    stages = {
        "encode": encoding,
        "text": decoded.text_seconds,
        "codes": answering - decoded.text_seconds,
        "decode": decoding,
        "colors": lap(),
    }
    return Timing(stages, decoded.tokens, decoded.passes), pixels_3ss


class _Laps:
    """A clock that waits for the device: called, it gives the seconds since it was last read."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._read = self._now()

    def __call__(self) -> float:
        before, self._read = self._read, self._now()
        return self._read - before

    def _now(self) -> float:
        if self.device.type != "cpu":
            torch.accelerator.synchronize(self.device)
        return time.perf_counter()


def _grammar(restorer: Restorer) -> Grammar:
    cells = restorer.size // restorer.tokenizer.downsample
    return Grammar.of(restorer.assembler, cells, cells)


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


def _complexity(restorer: Restorer, timings: Sequence[Timing], peak_mib: float | None, photos: int) -> Complexity:
    seconds = [timing.seconds for timing in timings]
    parts = {"backbone": restorer.backbone, "tokenizer": restorer.tokenizer}
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
        engine=restorer.sampling.engine,
        dtype=str(restorer.backbone.head.weight.dtype).removeprefix("torch."),
        quantize=restorer.sampling.quantize,
        color_fix=restorer.restoring.color_fix,
        restorations=len(timings),
        photos=photos,
    )
