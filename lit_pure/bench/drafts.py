"""`bench drafts`: passes and time of the Jacobi engine with trained weights, by first draft and window.

Knows a restorer, and the middle squares of low-quality photographs. `bench decode --run` takes one draft and one window
of it. Prints nothing.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from lit_pure.config.pure import SamplingConfig
from lit_pure.families.pure.restorer import Restorer
from lit_pure.families.pure.sampling.passes import Progress
from lit_pure.images.geometry import resizer
from lit_pure.images.io import read_image

Drafts = Literal["lq", "left", "random"]
DRAFTS: tuple[Drafts, ...] = ("lq", "left", "random")


@dataclass(frozen=True)
class DraftResult:
    """Means over the photographs, each decoded alone."""

    engine: str
    drafts: str
    window: int
    passes: float
    fewer: float
    """Passes of the plain engine over these."""
    tokens_per_second: float
    """Of whole answers, with text."""
    per_processor_second: float
    """The same per second of processor time, which other work on the machine disturbs less; it says nothing of GPUs."""
    ratio: float
    """`per_processor_second` over that of the plain engine."""
    same: str
    """How many pictures have exactly the tokens of the plain engine; in float32, near-ties may differ."""


def compare(
    restorer: Restorer,
    paths: Sequence[Path],
    windows: Sequence[int],
    progress: Callable[[str, int], Progress],
    drafts: Sequence[Drafts] = DRAFTS,
) -> Iterator[DraftResult]:
    """One result for the plain engine, then one per first draft and window."""
    size = restorer.size
    by = resizer(restorer.restoring.round_source)
    squares = [by(middle(path, size // restorer.scale)[None], size, size) for path in paths]
    sampling = restorer.sampling
    settings = [replace(sampling, engine="plain")]
    settings += [
        replace(sampling, engine="jacobi", drafts=first, window=window) for first in drafts for window in windows
    ]
    report = progress("drafts", len(settings) * len(squares))
    plain: list[Tensor] = []
    most = slowest = 0.0
    _measure(restorer, sampling, squares[:1], lambda count: None)  # warms up
    for setting in settings:
        codes, passes, speed, net = _measure(restorer, setting, squares, report)
        plain, most, slowest = plain or codes, most or passes, slowest or net
        same = sum(torch.equal(one, other) for one, other in zip(codes, plain, strict=True))
        name, window = ("", 1) if setting.engine == "plain" else (setting.drafts, setting.window)
        figures = (passes, most / passes, speed, net, net / slowest)
        yield DraftResult(setting.engine, name, window, *figures, f"{same} of {len(squares)}")


def middle(path: Path, side: int) -> Tensor:
    """The middle square (3, side, side) of a photograph. Raises ValueError if it is smaller."""
    photo_3hw = read_image(path)
    top, left = ((edge - side) // 2 for edge in photo_3hw.shape[-2:])
    if min(top, left) < 0:
        raise ValueError(f"{path}: smaller than {side} x {side} px, the model's square; name larger photographs")
    return photo_3hw[:, top : top + side, left : left + side]


def _measure(
    restorer: Restorer, setting: SamplingConfig, squares: Sequence[Tensor], report: Progress
) -> tuple[list[Tensor], float, float, float]:
    """Codes of every square, mean passes, tokens per second and per second of processor time."""
    device = restorer.device
    before, restorer.sampling = restorer.sampling, setting
    answers, processor = [], 0.0
    for number, square in enumerate(squares):
        codes_Bhw = restorer.tokenizer.encode(square.to(device))
        began = time.process_time()
        answers.append(restorer.answer(codes_Bhw, [str(number)]))
        processor += time.process_time() - began
        report(1)
    restorer.sampling = before
    seconds, tokens = (sum(getattr(answer, name) for answer in answers) for name in ("seconds", "tokens"))
    passes = sum(answer.passes for answer in answers) / len(answers)
    return [answer.codes_Bhw for answer in answers], passes, tokens / seconds, tokens / processor
