"""The random numbers of a training step, such as those of dropout. Knows torch's generators, and nothing of models."""

from typing import Any

import numpy as np
import torch
from lightning import Callback, LightningModule, Trainer


class Seeding(Callback):
    """Seeds every batch with (seed, number of the batch, process).

    So a checkpoint holds no generator state, and random draws of a validation change nothing.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Seed torch."""
        seed_batch(self.seed, batch_idx, trainer.global_rank, trainer.strategy.root_device)


def seed_batch(seed: int, batch: int, rank: int, device: torch.device) -> None:
    """Seed the generators of the CPU and of the device for a batch.

    `torch.manual_seed` takes 1 ms: it keeps a stack trace for every kind of device that is not in use.
    """
    number = int(np.random.SeedSequence([seed, batch, rank]).generate_state(1, np.uint64)[0] >> 1)
    torch.default_generator.manual_seed(number)
    if device.type != "cpu":
        torch.get_device_module(device).manual_seed(number)
