"""Restoration metrics while a module trains, and at test.

Knows metrics by their keys and what modules tell (`told.py`). Knows nothing of how pictures were made. pyiqa takes
seconds to import, so metrics are made when the first picture is to be scored.

Shape legend: B pictures, H W their size [px], 3 RGB.
"""

import logging
import math
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer
from torch import Tensor

from lit_pure.images.io import from_bytes, to_bytes
from lit_pure.lit.callbacks.told import ShowsPictures, require, set_name
from lit_pure.metrics import files
from lit_pure.metrics.metric import ImageMetric
from lit_pure.metrics.score import NotScorable, Scorer
from lit_pure.metrics.table import info_of

log = logging.getLogger(__name__)


class RestorationMetrics(Callback):
    """Scores the pictures that a module shows, as the 8-bit files they would be: `val/<metric>`, `test/<set>/<metric>`.

    The means are over all processes. Where batches are mappings with an "index" (the sample's number in its set), each
    sample counts once, whatever the sampler repeats; without, every picture shown counts. Stand-ins for unreadable
    pictures ("unreadable" in the batch) do not. Metrics that need a ground truth are left out where none is shown, a
    picture without a finite score is named and left out. Whatever a metric draws to build its network, the training
    sees none of it.

    ValueError where a metric is unknown, or one of sets (a test's business, see `lit.scores`). At the start TypeError
    where the module shows no pictures, MissingWeights where a metric's are not here; ValueError at the first picture
    that is smaller than a metric takes.
    """

    def __init__(
        self,
        metrics: Sequence[str],
        every: int = 1,
        sets: Sequence[str] = (),
        stages: Sequence[str] = ("val", "test"),
        label: str = "restored",
        truth: str = "ground truth",
        border: int = 0,
    ) -> None:
        """
        Args:
            metrics: keys of `metrics.table.METRICS`.
            every: steps that lie between scored validations at least.
            sets: names of the test loaders, in their order; numbers without.
            stages: when to score: "val", "test", or both.
            label: of the pictures in the module's `shown`.
            truth: of what they should have been.
            border: cut off every side before scoring [px].
        """
        if of_sets := [key for key in metrics if info_of(key).of_sets]:
            raise ValueError(f"{of_sets[0]} has no score for a single picture; leave it to the test of a whole set")
        if every < 1:
            raise ValueError(f"every = {every} is below 1 step")
        self.metrics, self.every, self.sets, self.stages = list(metrics), every, sets, stages
        self.label, self.truth, self.border = label, truth, border
        self._scorers: dict[str, Scorer] = {}
        self._made: dict[str, dict[str, ImageMetric]] = {}
        self._seen: Tensor | None = None
        self._scored_at: int | None = None

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Refuse what would fail later: a module that has nothing to score, metrics without their weights."""
        require(self, pl_module, ShowsPictures)
        files.require(self.metrics)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """What is shown from before does not count."""
        self._seen = self._pictures(pl_module)

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Score what the module made of this batch, if anything."""
        if self._due(trainer):
            self._update("val", pl_module, batch)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the means."""
        if self._due(trainer):
            self._scored_at = trainer.global_step
            self._log("val", pl_module)

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """What is shown from before does not count."""
        self._seen = self._pictures(pl_module)

    def on_test_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Score what the module made of this batch."""
        if "test" in self.stages:
            self._update(f"test/{set_name(self.sets, dataloader_idx)}", pl_module, batch)

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the means of every set."""
        if "test" in self.stages:
            loaders = trainer.num_test_batches  # of every set, seen or not: processes have to log the same
            for number in range(len(loaders)):
                self._log(f"test/{set_name(self.sets, number)}", pl_module)

    def _due(self, trainer: Trainer) -> bool:
        """The same on all processes."""
        if "val" not in self.stages or trainer.sanity_checking:
            return False
        return self._scored_at is None or not 0 <= trainer.global_step - self._scored_at < self.every

    def _pictures(self, module: LightningModule) -> Tensor | None:
        assert isinstance(module, ShowsPictures)
        return module.shown.get(self.label)

    def _update(self, where: str, module: LightningModule, batch: Any) -> None:
        """Score the pictures, unless they are those of an earlier batch."""
        pred_B3HW = self._pictures(module)
        if pred_B3HW is None or pred_B3HW is self._seen:
            return
        assert isinstance(module, ShowsPictures)
        self._seen = pred_B3HW
        target_B3HW = module.shown.get(self.truth)
        about: Mapping[str, Any] = batch if isinstance(batch, Mapping) else {}
        numbers, bad = about.get("index"), about.get("unreadable") or [""] * len(pred_B3HW)
        for row in (row for row in range(len(pred_B3HW)) if not bad[row]):
            one = slice(row, row + 1)
            pred_13HW = self._as_file(pred_B3HW[one])
            target_13HW = None if target_B3HW is None else self._as_file(target_B3HW[one])
            number_1 = numbers[one] if isinstance(numbers, Tensor) else None
            for key, metric in self._metrics(where).items():
                if target_13HW is None and metric.info.needs_reference:
                    continue
                try:
                    metric.update(pred_13HW, target_13HW, number_1)
                except NotScorable as error:
                    log.warning("picture %d of a batch of %s has no %s: %s", row, where, key, error)

    def _log(self, where: str, module: LightningModule) -> None:
        """Log what all processes scored together, and begin anew."""
        with warnings.catch_warnings():
            # There is nothing wrong with a process that had nothing to score.
            warnings.filterwarnings("ignore", message="The ``compute`` method of metric")
            means = {key: float(metric.compute()) for key, metric in self._metrics(where).items()}
        for key, mean in means.items():
            if math.isfinite(mean):
                module.log(f"{where}/{key}", mean, batch_size=1, sync_dist=True, add_dataloader_idx=False)
        for metric in self._made[where].values():
            metric.reset()

    def _as_file(self, image_B3HW: Tensor) -> Tensor:
        inside = slice(self.border, -self.border or None)
        return from_bytes(to_bytes(image_B3HW.float()))[..., inside, inside]

    def _metrics(self, where: str) -> dict[str, ImageMetric]:
        """The metrics of a stage or a set; those of one key share their network."""
        if not self._scorers:
            with torch.random.fork_rng(devices=[]):  # networks are drawn before their weights are read
                self._scorers = {key: Scorer(key) for key in self.metrics}
        if where not in self._made:
            self._made[where] = {key: ImageMetric(key, scorer) for key, scorer in self._scorers.items()}
        return self._made[where]
