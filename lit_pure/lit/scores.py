"""Metrics of several test sets and several methods at once.

Knows which `ImageMetric` belongs to which set and method and how its key is written. Knows nothing of how pictures are
made. No module: a LightningModule that holds one does not see the metrics' networks.
"""

import logging
from collections.abc import Sequence

from torch import Tensor

from lit_pure.images.io import from_bytes, to_bytes
from lit_pure.lit.data import Batch
from lit_pure.metrics.score import ImageMetric, NotScorable
from lit_pure.metrics.table import METRICS

log = logging.getLogger(__name__)


class Scores:
    """One `ImageMetric` per (set, method, metric), with keys `test/<set>/<metric>`.

    The first method's keys are bare; those of the others carry the method: `test/<set>/bicubic_psnr`.
    """

    def __init__(self, sets: Sequence[str], metrics: Sequence[str], methods: Sequence[str]) -> None:
        self.sets, self.methods, self.metrics = list(sets), list(methods), list(metrics)
        self._made: dict[str, ImageMetric] = {}

    def update(self, set_index: int, method: str, pred_B3HW: Tensor, batch: Batch) -> None:
        """Score pictures (B, 3, H, W) against the batch's HQ, as the 8-bit files they will be.

        Without HQ only by what needs no reference. One without a finite score is named, not fatal; a stand-in for an
        unreadable photograph is not counted.
        """
        target_B3HW, names = batch.get("hq_B3HW"), batch["name"]
        pred_B3HW = from_bytes(to_bytes(pred_B3HW))
        targets = [None] * len(names) if target_B3HW is None else from_bytes(to_bytes(target_B3HW)).split(1)
        for metric in self.metrics:
            if target_B3HW is None and METRICS[metric].needs_reference:
                continue
            scorer = self._metric(self._key(set_index, method, metric), metric).to(pred_B3HW.device)
            for name, pred, target, bad in zip(names, pred_B3HW, targets, batch["unreadable"], strict=True):
                if bad:
                    continue
                try:
                    scorer.update(pred[None], target)
                except NotScorable as error:
                    log.warning("%s, %s: not counted: %s", name, method, error)

    def compute(self) -> dict[str, Tensor]:
        """The mean of every metric that scored at least one picture."""
        return {key: metric.compute() for key, metric in self._made.items() if int(metric.count)}

    def _key(self, set_index: int, method: str, metric: str) -> str:
        prefix = "" if method == self.methods[0] else f"{method}_"
        return f"test/{self.sets[set_index]}/{prefix}{metric}"

    def _metric(self, key: str, metric: str) -> ImageMetric:
        # Made at first use: pyiqa takes seconds to import, which a training need not wait for.
        if key not in self._made:
            self._made[key] = ImageMetric(metric)
        return self._made[key]
