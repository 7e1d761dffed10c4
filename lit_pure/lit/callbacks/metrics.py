"""Restoration metrics during training, and at test.

Knows metrics by their keys, and what modules keep (`protocols.py`). Knows nothing of how pictures are made.

Shape legend: B pictures, H W their size [px], 3 RGB.
"""

import math
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

from lightning import Callback, LightningModule, Trainer
from torch import Tensor

from lit_pure.images.labels import GROUND_TRUTH, RESTORED
from lit_pure.lit.callbacks.batch_index import BatchIndex
from lit_pure.lit.callbacks.board import set_name
from lit_pure.lit.callbacks.protocols import ShowsPictures, require
from lit_pure.lit.scoring import Scorers, ScoringInput, score
from lit_pure.metrics import files
from lit_pure.metrics.metric import ImageMetric
from lit_pure.metrics.table import info_of


class RestorationMetrics(Callback):
    """Scores the pictures that a module shows, as 8-bit files would hold them: `val/<metric>`, `test/<set>/<metric>`.

    Several validation loaders have a figure each: `val/<number>/<metric>`.

    The means are over all processes. If batches are mappings with an "index" (the sample's number in its set), each
    sample counts once, whatever the sampler repeats. Without an "index", every picture counts except those that
    Lightning's own sampler repeats. Replacements of unreadable pictures ("unreadable" in the batch) do not count.
    Without a ground truth, metrics that need one are left out. A picture without a finite score or pixel is named and
    left out. Between validations the networks are on the CPU.

    Raises ValueError for a metric that is unknown, or that scores only sets (see `lit.scores`). At the start it raises
    TypeError if the module shows no pictures, MissingWeights if a metric's weights are missing, and ValueError if they
    are damaged; later ValueError for a picture that is too small for a metric.
    """

    def __init__(
        self,
        metrics: Sequence[str],
        every: int = 1,
        sets: Sequence[str] = (),
        stages: Sequence[str] = ("val", "test"),
        label: str = RESTORED,
        truth: str = GROUND_TRUTH,
        border: int = 0,
        scorers: Scorers | None = None,
    ) -> None:
        """
        Args:
            metrics: keys of `metrics.table.METRICS`.
            every: least number of steps between scored validations.
            sets: names of the test loaders, in their order; without them, numbers.
            stages: when to score: "val", "test", or both.
            label: of the pictures in the module's `shown`.
            truth: label of the ground truth.
            border: cut off every side before scoring [px].
            scorers: networks of the same metrics that are shared; None makes new ones.
        """
        if of_sets := [key for key in metrics if info_of(key).of_sets]:
            raise ValueError(f"{of_sets[0]} does not score single pictures; leave it to the test of a whole set")
        if every < 1:
            raise ValueError(f"every = {every} is below 1 step")
        self.metrics, self.every, self.sets, self.stages = list(metrics), every, sets, stages
        self.label, self.truth, self.border = label, truth, border
        self._scorers, self._index = scorers or Scorers(self.metrics), BatchIndex()
        self._image_metrics: dict[str, dict[str, ImageMetric]] = {}
        self._seen: Tensor | None = None
        self._scored_at: int | None = None

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Refuse what would fail later: a module without pictures, metrics without their weights."""
        require(self, pl_module, ShowsPictures)
        files.require(self.metrics)
        for key in self.metrics:
            files.verify(key)
        # A new run of the trainer is scored again, without the scores of one that was interrupted.
        self._scored_at, self._image_metrics = None, {}

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Pictures shown earlier do not count."""
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
        """Score the pictures of this batch, if the module shows any."""
        if self._due(trainer):
            self._update(trainer, "val", dataloader_idx, pl_module, batch)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the means."""
        if self._due(trainer):
            self._scored_at = trainer.global_step
            self._log(trainer, "val", pl_module)

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Pictures shown earlier do not count."""
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
        """Score the pictures of this batch."""
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
        self._index.reset()

    def _pictures(self, module: LightningModule) -> Tensor | None:
        assert isinstance(module, ShowsPictures)
        return module.shown.get(self.label)

    def _update(self, trainer: Trainer, stage: str, loader: int, module: LightningModule, batch: Any) -> None:
        """Score the pictures, unless they are those of an earlier batch."""
        pred_B3HW = self._pictures(module)
        new = pred_B3HW is not None and pred_B3HW is not self._seen
        count = len(pred_B3HW) if pred_B3HW is not None else 0
        indices = self._index.sample_indices(trainer, stage, loader, batch, count)
        if pred_B3HW is None or not new:
            return
        assert isinstance(module, ShowsPictures)
        self._seen = pred_B3HW
        target_B3HW = module.shown.get(self.truth)
        entries: Mapping[str, Any] = batch if isinstance(batch, Mapping) else {}
        numbers, bad = entries.get("index"), entries.get("unreadable") or [""] * len(pred_B3HW)
        prefix = self._prefix(trainer, stage, loader)
        for row in (row for row, index in enumerate(indices) if index is not None and not bad[row]):
            one = slice(row, row + 1)
            target_13HW = None if target_B3HW is None else target_B3HW[one]
            number_1 = numbers[one] if isinstance(numbers, Tensor) else None
            picture = ScoringInput(f"picture {row} of a batch of {prefix}", pred_B3HW[one], target_13HW, number_1)
            score(picture, self._metrics(prefix).values(), self.border)

    def _log(self, trainer: Trainer, stage: str, module: LightningModule) -> None:
        """Log the means over all processes, and reset the metrics."""
        # For every loader, seen or not: all processes must log the same keys.
        for loader in range(_loaders(trainer, stage)):
            prefix = self._prefix(trainer, stage, loader)
            with warnings.catch_warnings():
                # A process that had nothing to score is not a mistake.
                warnings.filterwarnings("ignore", message="The ``compute`` method of metric")
                means = {key: float(metric.compute()) for key, metric in self._metrics(prefix).items()}
            for key, mean in means.items():
                if math.isfinite(mean):
                    module.log(f"{prefix}/{key}", mean, batch_size=1, sync_dist=True, add_dataloader_idx=False)
            for metric in self._image_metrics[prefix].values():
                metric.reset()
        self._scorers.to_cpu()

    def _prefix(self, trainer: Trainer, stage: str, loader: int) -> str:
        """The beginning of the log keys of a loader."""
        if stage == "test":
            return f"test/{set_name(self.sets, loader)}"
        return "val" if _loaders(trainer, stage) == 1 else f"val/{loader}"

    def _metrics(self, prefix: str) -> dict[str, ImageMetric]:
        """The metrics of a stage or a set; those of one key share their network."""
        if prefix not in self._image_metrics:
            self._image_metrics[prefix] = self._scorers.image_metrics()
        return self._image_metrics[prefix]


def _loaders(trainer: Trainer, stage: str) -> int:
    return len(trainer.num_test_batches if stage == "test" else trainer.num_val_batches)
