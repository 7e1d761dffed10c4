"""Shares of a step that go into its data, with a clock that we turn."""

import time
from typing import Any

import pytest
import torch
from lightning import LightningDataModule, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from lit_pure.lit.timing import DataWait


class Clock:
    """Stands still unless somebody works."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Slow(Dataset[Tensor]):
    def __init__(self, clock: Clock, seconds: float) -> None:
        self.clock, self.seconds = clock, seconds

    def __len__(self) -> int:
        return 6

    def __getitem__(self, index: int) -> Tensor:
        self.clock.now += self.seconds
        return torch.ones(1)


class Data(LightningDataModule):
    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self.clock, self.handed_over = clock, 0.0

    def train_dataloader(self) -> DataLoader[Any]:
        return DataLoader(Slow(self.clock, 3.0), batch_size=1)

    def val_dataloader(self) -> DataLoader[Any]:
        return DataLoader(Slow(self.clock, 1000.0), batch_size=1)

    def on_before_batch_transfer(self, batch: Tensor, dataloader_idx: int) -> Tensor:
        self.handed_over = time.perf_counter()
        return batch

    def on_after_batch_transfer(self, batch: Tensor, dataloader_idx: int) -> Tensor:
        self.clock.now += 2.0
        return batch


class Model(LightningModule):
    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self.clock, self.layer = clock, torch.nn.Linear(1, 1)

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        self.clock.now += 5.0
        return self.layer(batch).sum()

    def validation_step(self, batch: Tensor, batch_idx: int) -> None:
        self.clock.now += 1000.0

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


@pytest.mark.filterwarnings("ignore:.*does not have many workers")
def test_shares_are_those_of_the_clock_and_validation_is_no_waiting(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    clock, wait = Clock(), DataWait()
    monkeypatch.setattr(time, "perf_counter", clock)
    trainer = Trainer(
        max_epochs=2,
        val_check_interval=3,
        callbacks=[wait, ModelCheckpoint(tmp_path, every_n_train_steps=4)],
        logger=False,
        accelerator="cpu",
        default_root_dir=tmp_path,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
    )
    trainer.fit(Model(clock), Data(clock))
    assert wait.row() == {"train/data_wait": 0.3, "train/data_made": 0.2}
    assert trainer.callback_metrics["train/data_wait"] == pytest.approx(0.3)
    # Of 12 steps not the first, not those after validations (4, 7, 10), not those after checkpoints (5, 9).
    assert wait.steps == 6


def test_without_a_training_there_is_nothing_to_tell() -> None:
    assert DataWait().row() == {}
