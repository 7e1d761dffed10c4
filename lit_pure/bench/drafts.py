"""`bench drafts`: how many passes the Jacobi engine needs with trained weights, by first draft and window.

Knows a restorer, and the middle squares of low-quality photographs. Prints nothing.
"""

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

DRAFTS: tuple[Literal["lq", "left", "random"], ...] = ("lq", "left", "random")


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
    same: str
    """How many pictures have exactly the tokens of the plain engine; in float32, near-ties may differ."""


def compare(
    restorer: Restorer, paths: Sequence[Path], windows: Sequence[int], progress: Callable[[str, int], Progress]
) -> Iterator[DraftResult]:
    """One result for the plain engine, then one per first draft and window."""
    size = restorer.size
    by = resizer(restorer.restoring.round_source)
    squares = [by(middle(path, size // restorer.scale)[None], size, size) for path in paths]
    sampling = restorer.sampling
    settings = [replace(sampling, engine="plain")]
    settings += [
        replace(sampling, engine="jacobi", drafts=drafts, window=window) for drafts in DRAFTS for window in windows
    ]
    report = progress("drafts", len(settings) * len(squares))
    plain: list[Tensor] = []
    first = 0.0
    for setting in settings:
        codes, passes, speed = _measure(restorer, setting, squares, report)
        plain, first = plain or codes, first or passes
        same = sum(torch.equal(one, other) for one, other in zip(codes, plain, strict=True))
        name, window = ("", 1) if setting.engine == "plain" else (setting.drafts, setting.window)
        yield DraftResult(setting.engine, name, window, passes, first / passes, speed, f"{same} of {len(squares)}")


def middle(path: Path, side: int) -> Tensor:
    """The middle square (3, side, side) of a photograph. Raises ValueError if it is smaller."""
    photo_3hw = read_image(path)
    top, left = ((edge - side) // 2 for edge in photo_3hw.shape[-2:])
    if min(top, left) < 0:
        raise ValueError(f"{path}: smaller than {side} x {side} px, the model's square; name larger photographs")
    return photo_3hw[:, top : top + side, left : left + side]


def _measure(
    restorer: Restorer, setting: SamplingConfig, squares: Sequence[Tensor], report: Progress
) -> tuple[list[Tensor], float, float]:
    """Codes of every square, mean passes, and tokens per second."""
    device = restorer.device
    before, restorer.sampling = restorer.sampling, setting
    answers = []
    for number, square in enumerate(squares):
        answers.append(restorer.answer(restorer.tokenizer.encode(square.to(device)), [str(number)]))
        report(1)
    restorer.sampling = before
    seconds, tokens = (sum(getattr(answer, name) for answer in answers) for name in ("seconds", "tokens"))
    passes = sum(answer.passes for answer in answers) / len(answers)
    return [answer.codes_Bhw for answer in answers], passes, tokens / seconds
