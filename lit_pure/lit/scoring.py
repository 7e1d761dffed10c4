"""What the test and the callbacks share when they score: the networks of a run, and one picture by all its metrics.

Knows pixels, and which pictures have no score. Knows nothing of sets, stages, or how pictures were made. pyiqa takes
seconds to import, so networks are made when the first one is asked for.

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
    """The networks of metrics of single pictures, each made once for all who measure in a run.

    Whatever a network draws while it is built, before its weights are read, a training sees none of it.
    """

    def __init__(self, metrics: Sequence[str]) -> None:
        """`metrics`: keys of `metrics.table.METRICS`, none of sets."""
        self.metrics = list(metrics)
        self._made: dict[str, Scorer] = {}

    def image_metrics(self) -> dict[str, ImageMetric]:
        """A metric per key, empty, on the shared networks. Raises as `Scorer`."""
        if not self._made:
            with torch.random.fork_rng(devices=[]):
                self._made = {key: Scorer(key) for key in self.metrics}
        return {key: ImageMetric(key, scorer) for key, scorer in self._made.items()}

    def rest(self) -> None:
        """Leave the device to others; networks come back with the next picture."""
        for scorer in self._made.values():
            scorer.to("cpu")


@dataclass(frozen=True)
class Judged:
    """A picture, and what it should have been."""

    name: str
    """What warnings call it."""
    pred_13HW: Tensor
    target_13HW: Tensor | None
    index_1: Tensor | None
    """Its number in its set; None counts it whatever was seen."""


def score(picture: Judged, metrics: Iterable[ImageMetric | SetMetric], border: int) -> None:
    """Score a picture as the 8-bit file it would be, without `border` px on each side.

    What has no score, by one metric or by any, is named, not fatal. Raises ValueError where it is smaller than a metric
    takes.
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
            # Without a true picture no metric of sets comes this far: all of them compare.
            metric.update(pred_13HW, target_13HW, picture.index_1)  # type: ignore[arg-type]
        except NotScorable as error:
            log.warning("%s has no %s: %s", picture.name, metric.info.key, error)


def as_file(image_B3HW: Tensor, border: int) -> Tensor:
    """Float pixels as an 8-bit file has them, cut. Raises NotScorable for NaN and infinite ones."""
    if wrong := int((~torch.isfinite(image_B3HW)).sum()):
        raise NotScorable(f"{wrong} of {image_B3HW.numel()} pixel values are NaN or infinite")
    inside = slice(border, -border or None)
    return from_bytes(to_bytes(image_B3HW.float()))[..., inside, inside]
