"""The LightningDataModule: crops on the processor, degradation and DEM scores on the device.

Knows how photographs become batches and what is done to a batch once it is on the device. Knows nothing of tokens.
Every random draw comes from (seed, epoch, sample index, purpose): no state to save, none to lose.

Shape legend: B batch, H W HQ [px], h w LQ [px].
"""

import logging
from collections.abc import Callable, Sequence
from typing import Any, TypedDict

import numpy as np
from lightning import LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader

from lit_pure.config.data import DataConfig, DegradationConfig, PhotosConfig
from lit_pure.config.schema import Level
from lit_pure.datasets.photos import Crops, EpochSampler, fingerprint
from lit_pure.degradation.dem import DegradationEstimator, training_pairs
from lit_pure.degradation.pipeline import degrade
from lit_pure.images.io import from_bytes

log = logging.getLogger(__name__)

DEGRADATION_DRAW, CONDITION_DRAW = 1, 2
"""Purposes of random draws; 0 is the crop."""


class Batch(TypedDict, total=False):
    """A batch after `on_after_batch_transfer`; which keys exist beyond the first six depends on the transform."""

    hq_B3HW: Tensor
    caption: list[str]
    name: list[str]
    epoch: Tensor
    index: Tensor
    unreadable: list[str]
    lq_B3hw: Tensor
    labels: list[tuple[Level, Level]]
    """(blur, noise) of each LQ picture."""
    pairs: Any


Generators = Sequence[np.random.Generator]
Transform = Callable[[Batch, Generators], Batch]
"""What is done to a batch on the device, with one generator per sample."""


def generators(seed: int, batch: Batch, purpose: int) -> list[np.random.Generator]:
    """One generator per sample of a batch, from (seed, epoch, index, purpose)."""
    keys = zip(batch["epoch"].tolist(), batch["index"].tolist(), strict=True)
    return [np.random.default_rng([seed, epoch, index, purpose]) for epoch, index in keys]


class Untouched:
    """Leaves a batch as it is."""

    def __call__(self, batch: Batch, rngs: Generators) -> Batch:
        return batch


class DegradeAndScore:
    """Adds `lq_B3hw` and, with a DEM, its `labels`."""

    def __init__(self, config: DegradationConfig, dem: DegradationEstimator | None) -> None:
        self.config, self.dem = config, dem

    def __call__(self, batch: Batch, rngs: Generators) -> Batch:
        batch["lq_B3hw"], _ = degrade(batch["hq_B3HW"], self.config, rngs)
        if self.dem is not None:
            self.dem.to(batch["lq_B3hw"].device)
            batch["labels"] = self.dem.labels(self.dem(batch["lq_B3hw"]))
        return batch


class DegradationPairs:
    """Adds `pairs` for the DEM's losses."""

    def __init__(self, config: DegradationConfig) -> None:
        self.config = config

    def __call__(self, batch: Batch, rngs: Generators) -> Batch:
        batch["pairs"] = training_pairs(batch["hq_B3HW"], self.config, rngs)
        return batch


class PhotoDataModule(LightningDataModule):
    """Crops of photographs for training, validation and any number of named test sets."""

    def __init__(self, config: DataConfig, seed: int, transform: Transform, trains: bool = True) -> None:
        """Raises ValueError where a set has no usable photograph; what only training looks at may be absent without."""
        super().__init__()
        self.config, self.seed, self.transform = config, seed, transform
        self.sets = {"train": self._crops(config.train, True), "val": self._crops(config.val, False)} if trains else {}
        self.test = {name: self._crops(photos, False) for name, photos in sorted(config.test.items())}
        self.sets |= {f"test/{name}": crops for name, crops in self.test.items()}
        self.unreadable: set[str] = set()

    @property
    def train(self) -> Crops:
        """What is trained on."""
        return self.sets["train"]

    @property
    def val(self) -> Crops:
        """What is looked at while training."""
        return self.sets["val"]

    def fingerprints(self) -> dict[str, str]:
        """What the sets were made of, by set."""
        return {name: fingerprint(crops.photos.paths) for name, crops in self.sets.items()}

    def skipped(self) -> list[str]:
        """Photographs that could not be used, so far, with reasons."""
        known = {f"{path}: {reason}" for crops in self.sets.values() for path, reason in crops.photos.skipped}
        return sorted(known | {f"{name}: cannot be decoded" for name in self.unreadable})

    def train_dataloader(self) -> DataLoader[Any]:
        """Shuffled anew each epoch."""
        return self._loader(self.train, self.config.batch_size, shuffle=True)

    def val_dataloader(self) -> DataLoader[Any]:
        """Fixed crops in order."""
        return self._loader(self.val, self.config.eval_batch_size, shuffle=False)

    def test_dataloader(self) -> list[DataLoader[Any]]:
        """One loader per test set, by name."""
        return [self._loader(crops, self.config.eval_batch_size, shuffle=False) for crops in self.test.values()]

    def on_after_batch_transfer(self, batch: dict[str, Any], dataloader_idx: int) -> Batch:
        """Bytes to [0, 1], then the transform, on the device."""
        self._note_unreadable(batch["unreadable"])
        ready: Batch = {key: value for key, value in batch.items() if key != "hq_3HW"}  # type: ignore[assignment]
        ready["hq_B3HW"] = from_bytes(batch["hq_3HW"])
        return self.transform(ready, generators(self.seed, ready, DEGRADATION_DRAW))

    def _crops(self, photos: PhotosConfig, training: bool) -> Crops:
        crops = Crops(photos, self.config.size, self.seed, training)
        for path, reason in crops.photos.skipped:
            log.warning("skipped %s: %s", path, reason)
        return crops

    def _loader(self, crops: Crops, batch_size: int, shuffle: bool) -> DataLoader[Any]:
        trainer = self.trainer
        rank, world = (trainer.global_rank, trainer.world_size) if trainer is not None else (0, 1)
        sampler: EpochSampler = EpochSampler(len(crops), self.seed, shuffle, rank, world)
        workers = self.config.num_workers
        return DataLoader(
            crops,
            batch_size=batch_size,
            sampler=sampler,
            num_workers=workers,
            persistent_workers=workers > 0,
        )

    def _note_unreadable(self, joined: Sequence[str]) -> None:
        """Name each photograph that could not be decoded, once."""
        for name in {name for names in joined for name in names.split(";") if name} - self.unreadable:
            self.unreadable.add(name)
            log.warning("skipped %s: it cannot be decoded; another photograph takes its place", name)
