"""The knobs of the degradation estimator's experiments, and the levels that it labels.

Knows names, types, defaults and legal ranges (`knob`); the defaults are the published ones, except `labels`. Imports
no torch.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from lit_pure.config.experiment import Experiment, small_model_problems
from lit_pure.config.knobs import Problem, knob

Labels = Literal["thirds", "terciles"]
"""Where small ends and large begins: at scores of 1/3 and 2/3, or so that each is as frequent as the others."""


@dataclass
class DemConfig:
    """Degradation estimator of MM-RealSR (arXiv 2205.05065); the defaults are its DEResNet."""

    features: list[int] = knob([64, 64, 64, 128], low=1)
    """Channels per stage."""
    blocks: list[int] = knob([2, 2, 2, 2], low=1)
    """Residual blocks per stage."""
    downscales: list[int] = knob([1, 1, 2, 1], low=1, high=8)
    """Stride of each stage."""
    margin: float = knob(0.05, low=0, high=1)
    """Least difference between the scores of a more and a less degraded image."""
    rank_weight: float = knob(1.0, low=0)
    """Weight of the ranking loss (published: 0.01, beside a reconstruction loss that we do not have)."""
    anchor_weight: float = knob(0.01, low=0)
    """Weight of the anchor loss: no degradation scores 0, the strongest 1 (published: 0.01 of `rank_weight`)."""
    # Runs that are older than this knob have terciles, and do not say so: hence the default.
    labels: Labels = "terciles"
    """Thresholds of small, medium and large: at `thirds` of the scale (PURE's), or at `terciles` of the scores."""
    calibration: int = knob(2048, low=8)
    """Samples that determine the thresholds of `labels: terciles`."""

    def problems(self) -> Iterator[Problem]:
        if len({len(self.features), len(self.blocks), len(self.downscales)}) > 1:
            yield "features", "features, blocks and downscales must have one entry per stage each"


Level = Literal["small", "medium", "large"]
"""How strong a degradation is (paper section 3.3)."""


LEVELS: tuple[Level, ...] = ("small", "medium", "large")
"""All levels, weakest first."""


@dataclass
class DemExperiment(Experiment):
    """Trains the degradation estimator."""

    family: str = "dem"
    dem: DemConfig = field(default_factory=DemConfig)
    """Architecture and losses."""

    def problems(self) -> Iterator[Problem]:
        yield from small_model_problems(self)
        process = self.data.degradation
        second_blur = process.second_order_prob * process.second_blur_prob
        for key, ever in (("blur_prob", second_blur), ("noise_prob", process.second_order_prob)):
            if not getattr(process, key) and not ever:
                yield f"data.degradation.{key}", "= 0.0, and the second stage adds none: there is nothing to estimate"
        if self.data.degrade_in == "workers":
            yield "data.degrade_in", "= workers makes no pairs of degradations, which this training needs; take device"
        if self.trainer.precision == "bf16-true":
            yield "trainer.precision", "= bf16-true is too coarse for scores whose order counts; take bf16-mixed"
