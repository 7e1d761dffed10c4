"""The LightningModule of the degradation estimator.

Knows its losses, its calibration and what is logged. Networks and pairs are in `degradation/dem.py`.

Shape legend: 2 factors (blur, noise), B images, N calibration images; 4 grades (clean, lower, higher, worst).
"""

import torch
from lightning import LightningModule
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor

from lit_pure.config.schema import DemExperiment
from lit_pure.degradation.dem import DegradationEstimator, anchor_loss, ranking_loss
from lit_pure.degradation.pipeline import degrade
from lit_pure.images.io import from_bytes
from lit_pure.lit.data import DEGRADATION_DRAW, Batch, PhotoDataModule, generators
from lit_pure.lit.schedule import configure

CALIBRATION_EPOCH = 1_000_000
"""An epoch that no training reaches: the calibration sees draws of its own."""
FACTORS = ("blur", "noise")


class DemModule(LightningModule):
    """Trains `DegradationEstimator` by ranking and anchor losses (MM-RealSR section 3.2), then calibrates it."""

    def __init__(self, config: DemExperiment) -> None:
        super().__init__()
        self.config = config
        self.dem = DegradationEstimator(config.dem)
        self.shown: dict[str, Tensor] = {}

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Ranking and anchor loss of both factors."""
        loss, parts = self._losses(batch)
        for name, value in {"loss": loss, **parts}.items():
            self.log(f"train/{name}", value.detach(), prog_bar=name == "loss")
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Loss and ranking accuracy."""
        loss, parts = self._losses(batch)
        for name, value in {"loss": loss, **parts}.items():
            self.log(f"val/{name}", value, batch_size=len(batch["name"]), prog_bar=name == "loss")

    def test_step(self, batch: Batch, batch_idx: int, dataloader_idx: int = 0) -> None:
        """Share of pairs whose worse image scores higher, per factor (0.5 is chance)."""
        name = sorted(self.config.data.test)[dataloader_idx]
        scores_24B = self.dem.grade(batch["pairs"])
        for factor, right in zip(FACTORS, _ranked(scores_24B), strict=True):
            key = f"test/{name}/{factor}_accuracy"
            self.log(key, right, batch_size=len(batch["name"]), add_dataloader_idx=False)

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """AdamW, warm-up, cosine."""
        return configure(self.parameters(), self.config.optim, self.config.trainer.max_steps)

    @torch.no_grad()
    def calibrate(self, data: PhotoDataModule) -> None:
        """Set the label thresholds to the terciles of the scores on the training degradation."""
        scores: list[Tensor] = []
        dataset, size = data.train, self.config.data.batch_size
        for start in range(0, self.config.dem.calibration, size):
            items = [dataset[(CALIBRATION_EPOCH + start, index % len(dataset))] for index in range(start, start + size)]
            hq_B3HW = from_bytes(torch.stack([item["hq_3HW"] for item in items])).to(self.device)
            keys: Batch = {
                "epoch": torch.tensor([item["epoch"] for item in items]),
                "index": torch.tensor([item["index"] for item in items]),
            }
            lq_B3hw, _ = degrade(
                hq_B3HW, self.config.data.degradation, generators(self.config.seed, keys, DEGRADATION_DRAW)
            )
            scores.append(self.dem(lq_B3hw))
        self.dem.calibrate(torch.cat(scores))

    def _losses(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        config = self.config.dem
        scores_24B = self.dem.grade(batch["pairs"])
        clean, lower, higher, worst = scores_24B.unbind(1)
        rank, anchor = ranking_loss(lower, higher, config.margin), anchor_loss(clean, worst)
        accuracies = zip(FACTORS, _ranked(scores_24B), strict=True)
        parts = {"rank": rank, "anchor": anchor, **{f"{factor}_accuracy": value for factor, value in accuracies}}
        return config.rank_weight * rank + config.anchor_weight * anchor, parts


def _ranked(scores_24B: Tensor) -> list[Tensor]:
    """Share of pairs in the right order, per factor."""
    return list((scores_24B[:, 2] > scores_24B[:, 1]).float().mean(1))
