"""Scoring for the test and the callbacks: the networks of a run, and all metrics of one picture.

Knows pixels, and which pictures have no score. Knows nothing of sets, stages, or how pictures are made. pyiqa takes
seconds to import, so the networks are made at first use.

Shape legend: H W size of a picture [px], 3 RGB; a leading 1 is one picture by itself.
"""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lit_pure.images.io import from_bytes, to_bytes
from lit_pure.metrics.metric import ImageMetric, SetMetric
from lit_pure.metrics.score import NotScorable, Scorer

log = logging.getLogger(__name__)


class Scorers:
    """The networks of metrics of single pictures, each made once for all that score in a run.

    Building a network draws random numbers for its initial weights; this does not change those of a training.
    """

    def __init__(self, metrics: Sequence[str]) -> None:
        """`metrics`: keys of `metrics.table.METRICS`, without metrics of sets."""
        self.metrics = list(metrics)
        self._scorers: dict[str, Scorer] = {}

    def image_metrics(self) -> dict[str, ImageMetric]:
        """A new metric per key, on the shared networks. Raises as `Scorer`."""
        if not self._scorers:
            with torch.random.fork_rng(devices=[]):
                self._scorers = {key: Scorer(key) for key in self.metrics}
        return {key: ImageMetric(key, scorer) for key, scorer in self._scorers.items()}

    def to_cpu(self) -> None:
        """Free the device; the networks move back with the next picture."""
        for scorer in self._scorers.values():
            scorer.to("cpu")


@dataclass(frozen=True)
class ScoringInput:
    """A picture, and its ground truth."""

    name: str
    """Its name in warnings."""
    pred_13HW: Tensor
    target_13HW: Tensor | None
    index_1: Tensor | None
    """Its number in its set; None always counts it."""


def score(picture: ScoringInput, metrics: Iterable[ImageMetric | SetMetric], border: int) -> None:
    """Score a picture as an 8-bit file would hold it, without `border` px on each side.

    A missing score, of one metric or of all, is logged. Raises ValueError if the picture is too small for a metric.
    """
    try:
        pred_13HW = as_file(picture.pred_13HW, border)
        target_13HW = None if picture.target_13HW is None else as_file(picture.target_13HW, border)
    except NotScorable as error:
        log.warning("%s is not counted: %s", picture.name, error)
        return
    for metric in metrics:
        if target_13HW is None and metric.info.needs_reference:
            continue
        try:
            # Without a ground truth, no metric of sets comes this far: all of them need one.
            metric.update(pred_13HW, target_13HW, picture.index_1)  # type: ignore[arg-type]
        except NotScorable as error:
            log.warning("%s has no %s: %s", picture.name, metric.info.key, error)


def as_file(image_B3HW: Tensor, border: int) -> Tensor:
    """Float pixels as an 8-bit file holds them, without the border. Raises NotScorable for NaN and infinite pixels."""
    if wrong := int((~torch.isfinite(image_B3HW)).sum()):
        raise NotScorable(f"{wrong} of {image_B3HW.numel()} pixel values are NaN or infinite")
    inside = slice(border, -border or None)
    return from_bytes(to_bytes(image_B3HW.float()))[..., inside, inside]
