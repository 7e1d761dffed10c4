"""Where the model was certain and where it was not: maps of entropy and of k.

Knows answers and the sampling rule. Knows nothing of how an answer is made.

Suffixes: h w grid of codes, 3 RGB, s side of a picture [px], B entropies.
"""

import math

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor
from torch.nn.functional import interpolate

from lit_pure.config.pure import SamplingConfig
from lit_pure.families.pure.sampling.logits import dynamic_k
from lit_pure.images.color import luma
from lit_pure.images.labels import RESTORED
from lit_pure.images.maps import dark_map
from lit_pure.notebook.style import (
    COLORS,
    DARK_IS_HIGH,
    FAINT,
    INK,
    WIDTH,
    Panel,
    draw_map,
    draw_panel,
    limits_of,
    make_axes,
    styled,
)
from lit_pure.notebook.subject import Answer, Subject

OPACITY = 0.55
"""Opacity of a map over a picture."""


def k_map(entropy_hw: Tensor, sampling: SamplingConfig) -> Tensor:
    """The k (h, w) that the paper's dynamic rule gives for each entropy [nats], whatever rule drew the codes."""
    return dynamic_k(entropy_hw, sampling.k_min, sampling.k_max, sampling.mu)


def overlay_map(map_hw: Tensor, image_3ss: Tensor, low: float, high: float) -> Tensor:
    """The map in colours, dark is high, over the picture's brightness: (3, s, s) in [0, 1]."""
    cells_3ss = interpolate(dark_map(map_hw.cpu(), low, high)[None], image_3ss.shape[-2:], mode="nearest")[0]
    return torch.lerp(luma(image_3ss).expand_as(image_3ss), cells_3ss, OPACITY)


@styled
def entropy(subject: Subject, answer: Answer) -> Figure:
    """The restored picture, the entropy over it, and the entropy alone (the paper's figure 3)."""
    entropy_hw, limits = answer.entropy_hw.cpu(), (0.0, answer.highest_entropy)
    figure, axes = make_axes(1, 3, WIDTH, 3.6)
    draw_panel(axes[0], Panel(RESTORED, answer.image_3ss))
    draw_panel(axes[1], Panel("entropy over it", overlay_map(entropy_hw, answer.image_3ss, *limits)))
    title = f"entropy of each code: mean {float(entropy_hw.mean()):.2f} nats"
    draw_map(axes[2], entropy_hw, title, "nats, 0 to ln of the codes", limits, colors=DARK_IS_HIGH, beyond="neither")
    return figure


@styled
def k_from_entropy(subject: Subject, answer: Answer) -> Figure:
    """How k depends on the entropy, where this picture's codes are on that curve, and the map of k."""
    rule, entropy_hw = answer.sampling, answer.entropy_hw.cpu()
    ceiling = math.log(subject.restorer.tokenizer.config.codes)
    k_hw = k_map(entropy_hw, rule)
    figure, axes = make_axes(1, 2, WIDTH, 3.9, width_ratios=(1.35, 1))
    _draw_rule(axes[0], entropy_hw, k_hw, rule, ceiling)
    used = "the k that was used" if rule.top_k == "dynamic" else f"as the dynamic rule gives it (k was {rule.k})"
    title = f"k map: {used}, median {float(k_hw.float().median()):.0f}"
    draw_map(axes[1], k_hw, title, "k, most likely codes to draw from", limits_of(k_hw), colors=DARK_IS_HIGH)
    return figure


def _draw_rule(ax: Axes, entropy_hw: Tensor, k_hw: Tensor, rule: SamplingConfig, ceiling: float) -> None:
    """Equation 2 as a curve, over the histogram of the picture's entropies."""
    span_B = torch.linspace(0, ceiling, 400)
    behind = ax.twinx()
    edges = np.linspace(0, ceiling, 41)
    behind.hist(entropy_hw.flatten().numpy(), bins=edges.tolist(), color=FAINT, alpha=0.7)
    behind.set_ylabel("codes of this picture", color="#8a8a8a")
    behind.grid(False)
    behind.spines["right"].set_visible(False)
    ax.set_zorder(behind.get_zorder() + 1)
    ax.patch.set_visible(False)
    ax.plot(span_B, k_map(span_B, rule), color=INK, linewidth=1.5, label="equation 2")
    ax.scatter(entropy_hw.flatten(), k_hw.flatten(), s=14, color=COLORS[1], alpha=0.5, linewidths=0, label="codes")
    ax.axvline(rule.mu, color="#8a8a8a", linewidth=0.9, linestyle="--")
    ax.text(rule.mu, rule.k_min, f"  mu = {rule.mu:g} nats", va="bottom", fontsize=8, color="#5a5a5a")
    ax.set(xlim=(0, ceiling), xlabel="entropy [nats]", ylabel="k")
    ax.set_title(f"k from {rule.k_min} to {rule.k_max} by entropy", fontweight="bold")
    ax.legend(loc="upper left", fontsize=8)
