"""The same picture decoded in several ways: other seeds, other rules, and how much the results differ.

Knows answers and figures of them. `subject.py` decodes an answer.

Suffixes: V variants, 3 RGB, s side of a picture [px], h w grid of codes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from torch import Tensor

from lit_pure.config.compose import experiment_names
from lit_pure.config.library import load_keys, require_file
from lit_pure.config.project import ROOTS
from lit_pure.files.yaml12 import resolved
from lit_pure.images.color import luma
from lit_pure.notebook.pairs import LARGEST_DIFFERENCE, absolute_difference
from lit_pure.notebook.style import DARK_IS_HIGH, WIDTH, Panel, draw_map, draw_panel, limits_of, make_axes, styled
from lit_pure.notebook.subject import Answer, Subject, decode

RULES = "ablations/sampling"
"""The decoding rules of the paper's table 6: one file each, with settings below `sampling`."""


@dataclass(frozen=True)
class Spread:
    """What several variants have in common, and where they differ."""

    mean_3ss: Tensor
    deviation_ss: Tensor
    """Standard deviation of the brightness over variants [levels of 255]."""
    entropy_hw: Tensor
    """Mean entropy of the codes [nats]."""
    correlation: float
    """Pearson's correlation of each cell's mean deviation with its entropy; NaN if either is constant."""


def decode_by_rule(subject: Subject, rules: Mapping[str, Mapping[str, Any]] | None = None) -> dict[str, Answer]:
    """One answer per decoding rule; `rules` maps labels to settings below `sampling`, None takes those of `RULES`."""
    own = subject.restorer.sampling
    return {label: decode(subject, replace(own, **changes)) for label, changes in (rules or _shipped_rules()).items()}


def _shipped_rules() -> dict[str, dict[str, Any]]:
    names = [name for name in experiment_names() if name.rpartition("/")[0] == RULES]
    files = [require_file(name, ROOTS).path for name in names]
    return {path.stem: resolved(load_keys(path))["sampling"] for path in files}


def decode_by_seed(subject: Subject, seeds: Sequence[int]) -> dict[str, Answer]:
    """One answer per seed of the noise, with the paper's rule whatever the run's own rule: Top-1 draws nothing."""
    own = replace(subject.restorer.sampling, **_shipped_rules()["dynamic"])
    return {f"seed {seed}": decode(subject, replace(own, seed=seed)) for seed in seeds}


@styled
def compare(answers: Mapping[str, Answer]) -> Figure:
    """Variants side by side, and below each its difference from the first one.

    Raises ValueError if there are none.
    """
    if not answers:
        raise ValueError("there are no variants to compare")
    labels, first = list(answers), next(iter(answers.values()))
    side = min(2.6, WIDTH / len(labels))
    figure, axes = make_axes(2, len(labels), side * len(labels), 2 * side + 0.9)
    for column, label in enumerate(labels):
        answer = answers[label]
        entropy = f"mean entropy {float(answer.entropy_hw.mean()):.2f} nats"
        draw_panel(axes[column], Panel(f"{label}\n{entropy}", answer.image_3ss))
        below = axes[len(labels) + column]
        difference_ss = absolute_difference(answer.image_3ss, first.image_3ss)
        changed = float((answer.codes_hw != first.codes_hw).float().mean())
        mean = f"mean {float(difference_ss.mean()):.1f} levels"
        title = f"absolute difference to {labels[0]}\n{mean}\n{changed:.0%} of the codes differ"
        last = column == len(labels) - 1  # one bar is enough for all
        draw_map(below, difference_ss, title, "levels of 255", (0, LARGEST_DIFFERENCE), bar=last, beyond="max")
    return figure


def compute_spread(answers: Mapping[str, Answer]) -> Spread:
    """Mean and deviation over variants, pixel by pixel.

    Raises ValueError if there are fewer than two.
    """
    if len(answers) < 2:
        raise ValueError(f"{len(answers)} variants have no spread; give at least two")
    images_V3ss = torch.stack([answer.image_3ss for answer in answers.values()])
    deviation_ss = luma(images_V3ss).std(0) * 255
    entropy_hw = torch.stack([answer.entropy_hw.cpu() for answer in answers.values()]).mean(0)
    cell_hw = F.adaptive_avg_pool2d(deviation_ss[None, None], (entropy_hw.shape[0], entropy_hw.shape[1]))[0, 0]
    correlation = float(torch.corrcoef(torch.stack([cell_hw.flatten(), entropy_hw.flatten()]))[0, 1])
    return Spread(images_V3ss.mean(0), deviation_ss, entropy_hw, correlation)


@styled
def draw_spread(answers: Mapping[str, Answer]) -> Figure:
    """The mean of the variants, where they differ, and their mean entropy. Raises ValueError as `compute_spread`."""
    spread = compute_spread(answers)
    figure, axes = make_axes(1, 3, WIDTH, 3.4)
    draw_panel(axes[0], Panel(f"mean of {len(answers)} variants", spread.mean_3ss))
    title = f"their deviation: mean {float(spread.deviation_ss.mean()):.1f} levels"
    draw_map(axes[1], spread.deviation_ss, title, "standard deviation, levels of 255", limits_of(spread.deviation_ss))
    title = f"mean entropy, correlation {spread.correlation:.2f}"
    limits = (0.0, max(answer.highest_entropy for answer in answers.values()))
    draw_map(axes[2], spread.entropy_hw, title, "nats", limits, colors=DARK_IS_HIGH, beyond="neither")
    return figure
