"""The same picture decoded in several ways: other seeds, other rules, and how far the results lie apart.

Knows answers and figures of them. How an answer is made is up to `subject.py`.

Suffixes: V variants, 3 RGB, s side of a picture [px], h w grid of codes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
import yaml
from matplotlib.figure import Figure
from torch import Tensor

from lit_pure.config.compose import locate
from lit_pure.images.color import luma
from lit_pure.notebook.pairs import LARGEST_DIFFERENCE, difference
from lit_pure.notebook.style import DARK_IS_HIGH, WIDTH, Panel, axes, draw_map, draw_panel, range_of, styled
from lit_pure.notebook.subject import Answer, Subject, ask

RULES = "experiments/ablations/sampling"
"""The ways of decoding of the paper's table 6: one file each, with settings below `sampling`."""


@dataclass(frozen=True)
class Spread:
    """What several variants have in common and where they differ."""

    mean_3ss: Tensor
    deviation_ss: Tensor
    """Standard deviation of the brightness over the variants [levels of 255]."""
    entropy_hw: Tensor
    """Mean entropy of the codes [nats]."""
    correlation: float
    """Pearson's, of the deviation within each code's cell with its entropy; NaN where either is constant."""


def by_rule(subject: Subject, rules: Mapping[str, Mapping[str, Any]] | None = None) -> dict[str, Answer]:
    """One answer for each way of decoding; `rules` maps labels to settings below `sampling`, else those of `RULES`."""
    own = subject.restorer.sampling
    return {label: ask(subject, replace(own, **changes)) for label, changes in (rules or _shipped_rules()).items()}


def _shipped_rules() -> dict[str, dict[str, Any]]:
    files = sorted(locate(RULES).glob("*.yaml"))
    return {path.stem: yaml.safe_load(path.read_text(encoding="utf-8"))["sampling"] for path in files}


def by_seed(subject: Subject, seeds: Sequence[int]) -> dict[str, Answer]:
    """One answer for each seed of the noise, by the paper's rule whatever the run's own is: Top-1 draws nothing."""
    own = replace(subject.restorer.sampling, **_shipped_rules()["dynamic"])
    return {f"seed {seed}": ask(subject, replace(own, seed=seed)) for seed in seeds}


@styled
def compare(answers: Mapping[str, Answer]) -> Figure:
    """Variants side by side, and below each how far it is from the first one.

    Raises ValueError where there are none.
    """
    if not answers:
        raise ValueError("there are no variants to compare")
    labels, first = list(answers), next(iter(answers.values()))
    side = min(2.6, WIDTH / len(labels))
    figure, places = axes(2, len(labels), side * len(labels), 2 * side + 0.9)
    for column, label in enumerate(labels):
        answer = answers[label]
        entropy = f"mean entropy {float(answer.entropy_hw.mean()):.2f} nats"
        draw_panel(places[column], Panel(f"{label}\n{entropy}", answer.image_3ss))
        below = places[len(labels) + column]
        apart_ss = difference(answer.image_3ss, first.image_3ss)
        changed = float((answer.codes_hw != first.codes_hw).float().mean())
        apart = f"mean {float(apart_ss.mean()):.1f} levels"
        title = f"absolute difference to {labels[0]}\n{apart}\n{changed:.0%} of the codes differ"
        last = column == len(labels) - 1  # one bar serves all of them
        draw_map(below, apart_ss, title, "levels of 255", (0, LARGEST_DIFFERENCE), bar=last, beyond="max")
    return figure


def spread_of(answers: Mapping[str, Answer]) -> Spread:
    """Mean and deviation over variants, pixel by pixel.

    Raises ValueError where there are fewer than two.
    """
    if len(answers) < 2:
        raise ValueError(f"{len(answers)} variants have no spread; make at least two")
    images_V3ss = torch.stack([answer.image_3ss for answer in answers.values()])
    deviation_ss = luma(images_V3ss).std(0) * 255
    entropy_hw = torch.stack([answer.entropy_hw.cpu() for answer in answers.values()]).mean(0)
    cell_hw = F.adaptive_avg_pool2d(deviation_ss[None, None], (entropy_hw.shape[0], entropy_hw.shape[1]))[0, 0]
    correlation = float(torch.corrcoef(torch.stack([cell_hw.flatten(), entropy_hw.flatten()]))[0, 1])
    return Spread(images_V3ss.mean(0), deviation_ss, entropy_hw, correlation)


@styled
def draw_spread(answers: Mapping[str, Answer]) -> Figure:
    """The mean of the variants, where they differ, and their mean entropy. Raises as `spread_of`."""
    spread = spread_of(answers)
    figure, places = axes(1, 3, WIDTH, 3.4)
    draw_panel(places[0], Panel(f"mean of {len(answers)} variants", spread.mean_3ss))
    title = f"their deviation: mean {float(spread.deviation_ss.mean()):.1f} levels"
    draw_map(places[1], spread.deviation_ss, title, "standard deviation, levels of 255", range_of(spread.deviation_ss))
    title = f"mean entropy, correlation {spread.correlation:.2f}"
    draw_map(places[2], spread.entropy_hw, title, "nats", range_of(spread.entropy_hw), colors=DARK_IS_HIGH)
    return figure
