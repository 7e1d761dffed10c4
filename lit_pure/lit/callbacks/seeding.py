"""Random numbers of a training step, such as those of dropout. Knows torch's generators, and nothing of models."""

from typing import Any

import numpy as np
import torch
from lightning import Callback, LightningModule, Trainer


class Draws(Callback):
    """Every batch starts from random numbers of (seed, number of the batch, process).

    So a checkpoint holds no state of a generator, and what a validation draws changes nothing.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Seed torch."""
        seed_batch(self.seed, batch_idx, trainer.global_rank, trainer.strategy.root_device)


def seed_batch(seed: int, batch: int, rank: int, device: torch.device) -> None:
    """Seed the processor's generator and the device's for a batch.

    Unlike `torch.manual_seed`, which keeps a trace of its caller for every kind of device that is not in use: 1 ms.
    """
    number = int(np.random.SeedSequence([seed, batch, rank]).generate_state(1, np.uint64)[0] >> 1)
    torch.default_generator.manual_seed(number)
    if device.type != "cpu":
        torch.get_device_module(device).manual_seed(number)
