"""The LightningModule of the degradation estimator.

Knows its losses, its calibration and what is logged. Networks and pairs are in `degradation/dem.py`.

Shape legend: 2 factors (blur, noise), B images, N calibration images; 4 grades (clean, lower, higher, worst).
"""

import logging
import sys
from collections.abc import Mapping
from pathlib import Path

import torch
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor
from tqdm import tqdm

from lit_pure.config.data import SKIMAGE, PhotosConfig
from lit_pure.config.dem import LEVELS, DemExperiment
from lit_pure.datasets.order import DEGRADATION_DRAW
from lit_pure.datasets.photos import Crops
from lit_pure.degradation.dem import DegradationEstimator, anchor_loss, ranking_loss
from lit_pure.degradation.pipeline import degrade
from lit_pure.degradation.weights import save_dem
from lit_pure.images.io import from_bytes
from lit_pure.lit.data import Batch, DegradationPairs, PhotoDataModule, Transform, generators
from lit_pure.lit.run_module import RunModule
from lit_pure.lit.schedule import configure
from lit_pure.runs.folder import Run

log = logging.getLogger(__name__)

CALIBRATION_EPOCH = 1_000_000
"""An epoch that no training reaches: the calibration sees draws of its own."""
FACTORS = ("blur", "noise")


def build(experiment: DemExperiment, needs: Mapping[str, Run]) -> tuple[RunModule, Transform]:
    """The module of an experiment, and the pairs that it compares."""
    return DemModule(experiment), DegradationPairs(experiment.data.degradation)


class DemModule(RunModule):
    """Trains `DegradationEstimator` by ranking and anchor losses (MM-RealSR section 3.2), then calibrates it."""

    def __init__(self, config: DemExperiment) -> None:
        super().__init__()
        self.config = config
        self.dem = DegradationEstimator(config.dem)

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
        """Share of pairs whose worse image scores higher (0.5 is chance), and of each label on plain draws, per factor.

        With `labels: terciles`, labels of images like those in training come a third each.
        """
        name = sorted(self.config.data.test)[dataloader_idx]
        right = _ranked(self.dem.grade(batch["pairs"]))
        measured = {f"{factor}_accuracy": share for factor, share in zip(FACTORS, right, strict=True)}
        with torch.autocast(self.device.type, enabled=False):  # thresholds are those of float32
            levels = zip(*self.dem.labels(self.dem(_plain(batch, self.config))), strict=True)
        for factor, found in zip(FACTORS, levels, strict=True):
            measured |= {f"{factor}_{level}": torch.tensor(found.count(level) / len(found)) for level in LEVELS}
        for key, value in measured.items():
            self.log(f"test/{name}/{key}", value, batch_size=len(batch["name"]), add_dataloader_idx=False)

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """AdamW, warm-up, cosine."""
        return configure(self.parameters(), self.config.optim, self.total_steps(self.config.trainer))

    def finish_training(self, data: PhotoDataModule) -> None:
        """Calibrate for `labels: terciles`, on the device that it was trained on."""
        if self.config.dem.labels == "terciles":
            self.to(self.trainer.strategy.root_device)  # Lightning moved it to the CPU after the last step
            self.calibrate(data)

    def calibrate(self, data: PhotoDataModule) -> None:
        """Set the label thresholds to the terciles of the scores on the training degradation."""
        calibrate(self.dem, self.config, data.train)

    def save_weights(self, folder: Path, writes: bool) -> None:
        """Both networks and the thresholds."""
        if writes:
            save_dem(folder, self.dem)

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


@torch.no_grad()
def calibrate(dem: DegradationEstimator, config: DemExperiment, crops: Crops) -> None:
    """Set the thresholds of an estimator so that a third of images each is labelled small, medium and large.

    Args:
        dem: on the device to compute on; gets its thresholds.
        config: `dem.calibration` images are degraded as `data.degradation` says, in batches of `data.batch_size`.
        crops: where they are taken from, evenly over all photographs.
    """
    device, wanted, size = dem.thresholds_22.device, config.dem.calibration, config.data.batch_size
    scores: list[Tensor] = []
    for start in tqdm(range(0, wanted, size), desc="calibrating", file=sys.stderr, disable=None, leave=False):
        # Each has an epoch of its own, so that where there are fewer crops than images none comes twice.
        numbers = range(start, min(start + size, wanted))
        items = [crops[CALIBRATION_EPOCH + number, number * len(crops) // wanted] for number in numbers]
        batch: Batch = {
            "hq_B3HW": from_bytes(torch.stack([item["hq_3HW"] for item in items])).to(device),
            "epoch": torch.tensor([item["epoch"] for item in items]),
            "index": torch.tensor([item["index"] for item in items]),
        }
        scores.append(dem(_plain(batch, config)))
    dem.calibrate(torch.cat(scores))


def calibrate_imported(dem: DegradationEstimator, config: DemExperiment) -> str:
    """Give an imported estimator the thresholds of `labels: terciles`.

    Where the photographs of `data.train` are absent, those inside scikit-image do, and the configuration says so then.

    Returns:
        The source of the photographs.
    """
    photos = config.data.train
    if photos.source != SKIMAGE and not Path(photos.source or photos.meta_info).exists():
        log.info("%s is not there: the thresholds come from the photographs inside scikit-image", photos.source)
        photos = config.data.train = PhotosConfig(source=SKIMAGE)
    calibrate(dem, config, Crops(photos, config.data.size, config.seed, training=True))
    return photos.source


def _plain(batch: Batch, config: DemExperiment) -> Tensor:
    """lq_B3hw: each crop once, degraded as the training images of PURE are."""
    rngs = generators(config.seed, batch, DEGRADATION_DRAW)
    return degrade(batch["hq_B3HW"], config.data.degradation, rngs)[0]
