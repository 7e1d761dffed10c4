"""The LightningDataModule: crops on the CPU, degradation and DEM scores on the device.

Knows how photographs become batches, and what happens to a batch on the device. Knows nothing of tokens. Every random
draw comes from (seed, epoch, sample index, purpose), so the only state is the number of samples used for training.

Shape legend: B batch, H W HQ [px], h w LQ [px].
"""

import logging
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any, TypedDict

import numpy as np
import torch
from lightning import LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader, Sampler, default_collate

from lit_pure.config.data import DataConfig, DegradationConfig, PhotosConfig
from lit_pure.config.dem import Level
from lit_pure.datasets.order import DEGRADATION_DRAW, Epochs, InOrder, Key, Stream
from lit_pure.datasets.photos import Crops
from lit_pure.degradation.dem import DegradationEstimator, training_pairs
from lit_pure.degradation.pipeline import degrade
from lit_pure.files import sharing
from lit_pure.images.io import from_bytes, to_bytes
from lit_pure.lit.callbacks.signals import leave_signals_to_the_main_process

log = logging.getLogger(__name__)

PIXELS = {"hq_3HW": "hq_B3HW", "lq_3hw": "lq_B3hw"}
"""Key of a picture in an item, as bytes -> its key in a batch."""
PREFETCH = 4
"""Batches that each worker loads in advance: the time to decode a photograph varies a lot."""
FORK = "fork" if sys.platform == "linux" else None
"""How workers start. A fork server (the default of Python 3.14) and its workers outlive a training that is killed."""
NAMED = 10
"""How many skipped photographs of a set are logged by name."""


FILES, FILES_PER_WORKER, TENSORS = 64, 4, 4
"""Files that are open without workers, for each worker of a loader, and for each batch on its way."""


class Batch(TypedDict, total=False):
    """A batch after `on_after_batch_transfer`. Which keys exist besides those of the crop depends on the transform."""

    hq_B3HW: Tensor
    """Missing if a test set has only LQ pictures."""
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
"""Changes a batch on the device, with one generator per sample."""


def generators(seed: int, batch: Batch, purpose: int) -> list[np.random.Generator]:
    """One generator per sample of a batch, from (seed, epoch, index, purpose)."""
    keys = zip(batch["epoch"].tolist(), batch["index"].tolist(), strict=True)
    return [np.random.default_rng([seed, epoch, index, purpose]) for epoch, index in keys]


def torch_generators(seed: int, batch: Batch, purpose: int) -> list[torch.Generator]:
    """The same as torch's, on the CPU."""
    return [torch.Generator().manual_seed(int(rng.integers(2**63))) for rng in generators(seed, batch, purpose)]


class DegradedInWorkers:
    """Collates items whose LQ pictures are made at once, by the worker, with the draws that the device would take."""

    def __init__(self, config: DegradationConfig, seed: int) -> None:
        self.config, self.seed = config, seed

    def __call__(self, items: list[dict[str, Any]]) -> dict[str, Any]:
        batch: dict[str, Any] = default_collate(items)
        if "lq_3hw" not in batch:
            rngs = generators(self.seed, batch, DEGRADATION_DRAW)  # type: ignore[arg-type]
            lq_B3hw, _ = degrade(from_bytes(batch["hq_3HW"]), self.config, rngs)
            batch["lq_3hw"] = to_bytes(lq_B3hw)
        return batch


class Identity:
    """Leaves a batch as it is."""

    def __call__(self, batch: Batch, rngs: Generators) -> Batch:
        return batch


class DegradeAndScore:
    """Adds `lq_B3hw`, unless the set has its own LQ pictures, and `labels` if there is a DEM.

    Args:
        config: how LQ pictures are made.
        dem: labels them; None adds no labels.
        tile: side of the LQ pictures that the DEM was trained on, and calibrated with [px].
    """

    def __init__(self, config: DegradationConfig, dem: DegradationEstimator | None, tile: int = 0) -> None:
        self.config, self.dem, self.tile = config, dem, tile

    def __call__(self, batch: Batch, rngs: Generators) -> Batch:
        if "lq_B3hw" not in batch:
            batch["lq_B3hw"], _ = degrade(batch["hq_B3HW"], self.config, rngs)
        if self.dem is not None:
            self.dem.to(batch["lq_B3hw"].device)
            batch["labels"] = self.dem.labels(self.dem.score(batch["lq_B3hw"], self.tile))
        return batch


class DegradationPairs:
    """Adds `pairs` for the DEM's losses."""

    def __init__(self, config: DegradationConfig) -> None:
        self.config = config

    def __call__(self, batch: Batch, rngs: Generators) -> Batch:
        batch["pairs"] = training_pairs(batch["hq_B3HW"], self.config, rngs)
        return batch


class StreamPosition:
    """The position of a training in its stream of samples, which can be given after a whole optimizer step."""

    def __init__(self, samples: int = 0) -> None:
        self.samples = samples
        """Used by all processes together, including those of the current step."""
        self._step, self._before = -1, samples

    def advance(self, samples: int, step: int) -> None:
        """All processes together use these samples in the step after `step` finished ones."""
        if step != self._step:
            self._step, self._before = step, self.samples
        self.samples += samples

    def samples_after(self, steps: int) -> int:
        """Samples of the first `steps` steps. The gradients of half a step are lost, so its samples come again."""
        return self._before if steps == self._step else self.samples


def _start_worker(worker: int) -> None:
    leave_signals_to_the_main_process(worker)
    sharing.end_where_nothing_is_passed_on()


class PhotoDataModule(LightningDataModule):
    """Crops of photographs for training, validation and any number of named test sets.

    Training is one stream of samples. A checkpoint holds the position in it, in samples of finished optimizer
    steps, so that a resumed run sees the same samples as an uninterrupted one, on any number of processes. The
    gradients of a half-accumulated step are lost: its samples come again, but Lightning continues to count its batches,
    so the first step may take fewer of them.
    """

    def __init__(self, config: DataConfig, seed: int, transform: Transform, trains: bool = True) -> None:
        """Raises ValueError if a set has no usable photograph, or the system has no room for what workers pass on.

        Unless it `trains`, only the test sets must exist.
        """
        super().__init__()
        self.config, self.seed, self.transform = config, seed, transform
        self.sets = {"train": self._crops(config.train, True), "val": self._crops(config.val, False)} if trains else {}
        self.test = {name: self._crops(photos, False) for name, photos in sorted(config.test.items())}
        self.sets |= {f"test/{name}": crops for name, crops in self.test.items()}
        if config.num_workers:
            self._require_room_for_workers()
        self.unreadable: set[str] = set()
        self._position = StreamPosition()
        self.handed_over = 0.0

    @property
    def train(self) -> Crops:
        """The training set."""
        return self.sets["train"]

    @property
    def val(self) -> Crops:
        """The validation set."""
        return self.sets["val"]

    def fingerprints(self) -> dict[str, str]:
        """The fingerprint of each set."""
        return {name: crops.fingerprint() for name, crops in self.sets.items()}

    def skipped(self) -> list[str]:
        """Photographs that could not be used so far, with reasons."""
        known = {f"{path}: {reason}" for crops in self.sets.values() for path, reason in crops.pairs.skipped}
        return sorted(known | {f"{name}: cannot be decoded" for name in self.unreadable})

    def state_dict(self) -> dict[str, Any]:
        """The position in the stream of samples, and the fingerprint of the set; part of Lightning's checkpoint."""
        if self.trainer is None or "train" not in self.sets:
            return {}
        samples = self._position.samples_after(self.trainer.global_step)
        return {"samples": samples, "fingerprint": self.train.fingerprint()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Resume where a checkpoint was written; warns if the photographs differ from those of the checkpoint."""
        self._position = StreamPosition(int(state_dict["samples"]))
        if "train" in self.sets and state_dict["fingerprint"] != self.train.fingerprint():
            log.warning(
                "the training photographs differ from those of the checkpoint: the next samples are not those of an "
                "uninterrupted run"
            )

    def train_dataloader(self) -> DataLoader[Any]:
        """A stream from the position of the checkpoint, each epoch in a new order.

        It is endless, unless the Trainer counts epochs (`max_epochs`).
        """
        rank, world = self._process()
        stream = Stream(len(self.train), self.seed, self._position.samples, rank, world)
        counts = self.trainer is not None and self.trainer.max_epochs != -1
        sampler = Epochs(stream, lambda: self._position.samples) if counts else stream
        return self._loader(self.train, self.config.batch_size, sampler)

    def val_dataloader(self) -> DataLoader[Any]:
        """Fixed crops in order."""
        return self._in_order(self.val)

    def test_dataloader(self) -> list[DataLoader[Any]]:
        """One loader per test set, by name."""
        return [self._in_order(crops) for crops in self.test.values()]

    def predict_dataloader(self) -> list[DataLoader[Any]]:
        """LQ pictures of the test sets, to be restored."""
        return self.test_dataloader()

    def on_before_batch_transfer(self, batch: dict[str, Any], dataloader_idx: int) -> dict[str, Any]:
        """Note when the loader delivered a batch."""
        self.handed_over = time.perf_counter()
        return batch

    def on_after_batch_transfer(self, batch: dict[str, Any], dataloader_idx: int) -> Batch:
        """Convert bytes to [0, 1], then transform, on the device."""
        self._note_unreadable(batch["unreadable"])
        if self.trainer is not None and self.trainer.training:
            self._position.advance(len(batch["name"]) * self.trainer.world_size, self.trainer.global_step)
        ready: Batch = {key: value for key, value in batch.items() if key not in PIXELS}  # type: ignore[assignment]
        ready |= {PIXELS[key]: from_bytes(batch[key]) for key in PIXELS if key in batch}  # type: ignore[typeddict-item]
        return self.transform(ready, generators(self.seed, ready, DEGRADATION_DRAW))

    def _crops(self, photos: PhotosConfig, training: bool) -> Crops:
        crops = Crops(photos, self.config.size, self.seed, training, self.config.degradation.scale)
        for path, reason in crops.pairs.skipped[:NAMED]:
            log.warning("skipped %s: %s", path, reason)
        if (more := len(crops.pairs.skipped) - NAMED) > 0:
            log.warning("skipped %d more of this set; the run's summary names them", more)
        return crops

    def _require_room_for_workers(self) -> None:
        """Now, before anything is made: a worker that lacks it fails in the middle, or keeps everyone waiting."""
        config, trained = self.config, "train" in self.sets
        pixels = config.size**2 + (config.size // config.degradation.scale) ** 2
        # A validation or a test comes while training's workers hold what they have loaded in advance.
        images = config.batch_size * trained + config.eval_batch_size
        ahead, what = config.num_workers * PREFETCH, f"data.num_workers = {config.num_workers}"
        sharing.keep_sockets_short()
        sharing.require_shared_memory(3 * pixels * images * ahead, what)
        loaders = 2 * trained + len(self.test)
        sharing.allow_open_files(FILES + loaders * FILES_PER_WORKER * config.num_workers + TENSORS * ahead, what)

    def _process(self) -> tuple[int, int]:
        """Rank and number of processes. Raises ValueError where the Trainer would deal samples out once more."""
        if self.trainer is None:
            return 0, 1
        connector = getattr(self.trainer, "_accelerator_connector", None)
        if self.trainer.world_size > 1 and getattr(connector, "use_distributed_sampler", False):
            raise ValueError("samples are dealt out already: make it Trainer(use_distributed_sampler=False)")
        return self.trainer.global_rank, self.trainer.world_size

    def _in_order(self, crops: Crops) -> DataLoader[Any]:
        return self._loader(crops, self.config.eval_batch_size, InOrder(len(crops), *self._process()))

    def _loader(self, crops: Crops, batch_size: int, sampler: Sampler[Key]) -> DataLoader[Any]:
        workers = self.config.num_workers
        return DataLoader(
            crops,
            batch_size=batch_size,
            sampler=sampler,
            num_workers=workers,
            persistent_workers=workers > 0,
            prefetch_factor=PREFETCH if workers else None,
            collate_fn=self._collate(),
            worker_init_fn=_start_worker,
            multiprocessing_context=FORK if workers else None,
            pin_memory=self.trainer is not None and self.trainer.strategy.root_device.type == "cuda",
        )

    def _collate(self) -> Callable[[list[dict[str, Any]]], dict[str, Any]]:
        if self.config.degrade_in == "workers" and isinstance(self.transform, DegradeAndScore):
            return DegradedInWorkers(self.config.degradation, self.seed)
        return default_collate

    def _note_unreadable(self, joined: Sequence[str]) -> None:
        """Log each photograph that could not be decoded, once."""
        for name in {name for names in joined for name in names.split(";") if name} - self.unreadable:
            self.unreadable.add(name)
            log.warning("skipped %s: it cannot be decoded; another photograph replaces it", name)
