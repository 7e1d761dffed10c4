"""Restoration metrics while a module trains, and at test.

Knows metrics by their keys and what modules tell (`protocols.py`). Knows nothing of how pictures were made.

Shape legend: B pictures, H W their size [px], 3 RGB.
"""

import math
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

from lightning import Callback, LightningModule, Trainer
from torch import Tensor

from lit_pure.lit.callbacks.batch_index import Places
from lit_pure.lit.callbacks.board import set_name
from lit_pure.lit.callbacks.protocols import ShowsPictures, require
from lit_pure.lit.scoring import Judged, Scorers, score
from lit_pure.metrics import files
from lit_pure.metrics.metric import ImageMetric
from lit_pure.metrics.table import info_of


class RestorationMetrics(Callback):
    """Scores the pictures that a module shows, as the 8-bit files they would be: `val/<metric>`, `test/<set>/<metric>`.

    Several validation loaders have a figure each: `val/<number>/<metric>`.

    The means are over all processes. Where batches are mappings with an "index" (the sample's number in its set), each
    sample counts once, whatever the sampler repeats; without, every picture shown counts, but for what Lightning's own
    sampler repeats to give all processes as many. Stand-ins for unreadable
    pictures ("unreadable" in the batch) do not. Metrics that need a ground truth are left out where none is shown, a
    picture without a finite score or pixel is named and left out. Between validations the networks leave the device.

    ValueError where a metric is unknown, or one of sets (a test's business, see `lit.scores`). At the start TypeError
    where the module shows no pictures, MissingWeights where a metric's are not here, ValueError where they are damaged;
    ValueError at the first picture that is smaller than a metric takes.
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
        scorers: Scorers | None = None,
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
            scorers: networks of the same metrics that others use, too; without, its own.
        """
        if of_sets := [key for key in metrics if info_of(key).of_sets]:
            raise ValueError(f"{of_sets[0]} has no score for a single picture; leave it to the test of a whole set")
        if every < 1:
            raise ValueError(f"every = {every} is below 1 step")
        self.metrics, self.every, self.sets, self.stages = list(metrics), every, sets, stages
        self.label, self.truth, self.border = label, truth, border
        self._scorers, self._places = scorers or Scorers(self.metrics), Places()
        self._made: dict[str, dict[str, ImageMetric]] = {}
        self._seen: Tensor | None = None
        self._scored_at: int | None = None

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Refuse what would fail later: a module that has nothing to score, metrics without their weights."""
        require(self, pl_module, ShowsPictures)
        files.require(self.metrics)
        for key in self.metrics:
            files.verify(key)
        # Another validation of the same weights is one, and what an interrupted one scored is none of its business.
        self._scored_at, self._made = None, {}

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """What is shown from before does not count."""
        self._begin(pl_module)

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
            self._update(trainer, "val", dataloader_idx, pl_module, batch)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the means."""
        if self._due(trainer):
            self._scored_at = trainer.global_step
            self._log(trainer, "val", pl_module)

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """What is shown from before does not count."""
        self._begin(pl_module)

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
            self._update(trainer, "test", dataloader_idx, pl_module, batch)

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the means of every set."""
        if "test" in self.stages:
            self._log(trainer, "test", pl_module)

    def _due(self, trainer: Trainer) -> bool:
        """The same on all processes."""
        if "val" not in self.stages or trainer.sanity_checking:
            return False
        return self._scored_at is None or not 0 <= trainer.global_step - self._scored_at < self.every

    def _begin(self, module: LightningModule) -> None:
        self._seen = self._pictures(module)
        self._places.reset()

    def _pictures(self, module: LightningModule) -> Tensor | None:
        assert isinstance(module, ShowsPictures)
        return module.shown.get(self.label)

    def _update(self, trainer: Trainer, stage: str, loader: int, module: LightningModule, batch: Any) -> None:
        """Score the pictures, unless they are those of an earlier batch."""
        pred_B3HW = self._pictures(module)
        new = pred_B3HW is not None and pred_B3HW is not self._seen
        places = self._places.of(trainer, stage, loader, batch, len(pred_B3HW) if pred_B3HW is not None else 0)
        if pred_B3HW is None or not new:
            return
        assert isinstance(module, ShowsPictures)
        self._seen = pred_B3HW
        target_B3HW = module.shown.get(self.truth)
        about: Mapping[str, Any] = batch if isinstance(batch, Mapping) else {}
        numbers, bad = about.get("index"), about.get("unreadable") or [""] * len(pred_B3HW)
        where = self._where(trainer, stage, loader)
        for row in (row for row, place in enumerate(places) if place is not None and not bad[row]):
            one = slice(row, row + 1)
            target_13HW = None if target_B3HW is None else target_B3HW[one]
            number_1 = numbers[one] if isinstance(numbers, Tensor) else None
            name = f"picture {row} of a batch of {where}"
            score(Judged(name, pred_B3HW[one], target_13HW, number_1), self._metrics(where).values(), self.border)

    def _log(self, trainer: Trainer, stage: str, module: LightningModule) -> None:
        """Log what all processes scored together, and begin anew."""
        # Of every loader, seen or not: processes have to log the same.
        for loader in range(_loaders(trainer, stage)):
            where = self._where(trainer, stage, loader)
            with warnings.catch_warnings():
                # There is nothing wrong with a process that had nothing to score.
                warnings.filterwarnings("ignore", message="The ``compute`` method of metric")
                means = {key: float(metric.compute()) for key, metric in self._metrics(where).items()}
            for key, mean in means.items():
                if math.isfinite(mean):
                    module.log(f"{where}/{key}", mean, batch_size=1, sync_dist=True, add_dataloader_idx=False)
            for metric in self._made[where].values():
                metric.reset()
        self._scorers.rest()

    def _where(self, trainer: Trainer, stage: str, loader: int) -> str:
        """What the figures of a loader begin with."""
        if stage == "test":
            return f"test/{set_name(self.sets, loader)}"
        return "val" if _loaders(trainer, stage) == 1 else f"val/{loader}"

    def _metrics(self, where: str) -> dict[str, ImageMetric]:
        """The metrics of a stage or a set; those of one key share their network."""
        if where not in self._made:
            self._made[where] = self._scorers.image_metrics()
        return self._made[where]


def _loaders(trainer: Trainer, stage: str) -> int:
    return len(trainer.num_test_batches if stage == "test" else trainer.num_val_batches)
