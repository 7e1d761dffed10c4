"""Shares of a step and rates, with a clock that we turn."""

import time
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from lightning import LightningDataModule, LightningModule
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from lit_pure.lit.callbacks.batch_index import first_length
from lit_pure.lit.callbacks.protocols import Work
from lit_pure.lit.callbacks.throughput import Throughput
from tests.lit.callbacks.foreign import Plain, plain_loader, trainer

pytestmark = pytest.mark.filterwarnings("ignore:.*does not have many workers")


class Clock:
    """Stands still unless somebody works."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(time, "perf_counter", made)
    return made


class Slow(Dataset[Tensor]):
    def __init__(self, clock: Clock, seconds: float) -> None:
        self.clock, self.seconds = clock, seconds

    def __len__(self) -> int:
        return 12

    def __getitem__(self, index: int) -> Tensor:
        self.clock.now += self.seconds / 2
        return torch.ones(1)


class Data(LightningDataModule):
    """Batches of two that take 3 s, and another 2 s on the device."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self.clock, self.handed_over = clock, 0.0

    def train_dataloader(self) -> DataLoader[Any]:
        return DataLoader(Slow(self.clock, 3.0), batch_size=2)

    def val_dataloader(self) -> DataLoader[Any]:
        return DataLoader(Slow(self.clock, 1000.0), batch_size=2)

    def on_before_batch_transfer(self, batch: Tensor, dataloader_idx: int) -> Tensor:
        self.handed_over = time.perf_counter()
        return batch

    def on_after_batch_transfer(self, batch: Tensor, dataloader_idx: int) -> Tensor:
        self.clock.now += 2.0
        return batch


class Model(LightningModule):
    """Steps that take 5 s."""

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


class Telling(Model):
    """Says that every step takes 30 tokens more than the one before."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self.work = Work()

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        self.work = Work(images=4, tokens=self.work.tokens + 30, flops=500.0)
        return super().training_step(batch, batch_idx)


def test_shares_of_time_are_those_of_the_clock_and_validation_is_no_waiting(clock: Clock, tmp_path: Path) -> None:
    speed = Throughput()
    saved = ModelCheckpoint(tmp_path, every_n_train_steps=4)
    house = trainer(tmp_path, [speed, saved], max_epochs=2, val_check_interval=3, enable_checkpointing=True)
    house.fit(Model(clock), Data(clock))
    assert speed.row() == {"train/data_wait": 0.3, "train/data_made": 0.2, "train/images_per_second": 0.2}
    assert house.callback_metrics["train/data_wait"] == pytest.approx(0.3)
    # Of 12 steps not the first, not those after validations (4, 7, 10), not those after checkpoints (5, 9).
    assert speed.steps == 6


def test_counts_that_a_module_reports_become_rates_and_a_share_of_the_peak(clock: Clock, tmp_path: Path) -> None:
    speed = Throughput(peak_flops=200.0)
    house = trainer(tmp_path, [speed], limit_val_batches=0)
    house.fit(Telling(clock), Data(clock))
    # 6 steps of 10 s, of which the first is not counted: tokens 60, 90, ... 180.
    expected = {"images_per_second": 0.4, "tokens_per_second": sum(range(60, 181, 30)) / 50, "mfu": 0.25}
    row = speed.row()
    assert {name: row[f"train/{name}"] for name in expected} == expected
    assert {name: float(house.callback_metrics[f"train/{name}"]) for name in expected} == pytest.approx(expected)


def test_throughput_logs_when_the_trainer_does_and_sums_up_in_any_case(clock: Clock, tmp_path: Path) -> None:
    speed = Throughput()
    house = trainer(tmp_path, [speed], limit_val_batches=0, log_every_n_steps=4)
    house.fit(Telling(clock), Data(clock))
    tokens = float(house.callback_metrics["train/tokens_per_second"])
    assert tokens == pytest.approx((60 + 90 + 120) / 30), "of the first four steps"
    assert speed.row()["train/tokens_per_second"] == pytest.approx(12.0)


def test_no_row_is_lost_at_the_end_of_an_epoch_of_steps_of_several_batches(tmp_path: Path) -> None:
    """35 batches are 17 steps of two and one of one: 18 an epoch, of which every fifth is logged."""
    house = trainer(tmp_path, [Throughput()], max_epochs=3, accumulate_grad_batches=2, log_every_n_steps=5)
    house.fit(Plain(), DataLoader(torch.utils.data.TensorDataset(torch.ones(70, 8)), batch_size=2))
    table = pd.read_csv(tmp_path / "run" / "version_0" / "metrics.csv")
    logged = table.dropna(subset=["train/images_per_second"])["step"].tolist()
    assert logged == list(range(4, 3 * 18, 5))


def test_flops_that_no_module_reports_are_counted_in_the_first_step(clock: Clock, tmp_path: Path) -> None:
    """A layer of 8 x 16 on 4 rows: 2 x 4 x 8 x 16 forward, as many for the weight's gradient; 5 s a step."""

    class Timed(Plain):
        def training_step(self, batch: Any, batch_idx: int) -> Tensor:
            clock.now += 5.0
            return super().training_step(batch, batch_idx)

    speed, unknown = Throughput(peak_flops=1e4), Throughput()
    trainer(tmp_path, [speed, unknown]).fit(Timed(), plain_loader())
    assert speed.row()["train/mfu"] == pytest.approx(2 * 2 * 4 * 8 * 16 / 5 / 1e4, rel=1e-3)
    assert "train/mfu" not in unknown.row(), "nobody knows what a processor could do"


def test_a_step_that_fails_leaves_no_flop_counter_running(tmp_path: Path) -> None:
    class Failing(Plain):
        def training_step(self, batch: Any, batch_idx: int) -> Tensor:
            raise RuntimeError("no")

    before = torch._C._len_torch_dispatch_stack()
    with pytest.raises(RuntimeError, match="no"):
        trainer(tmp_path, [Throughput(peak_flops=1.0)]).fit(Failing(), plain_loader())
    assert torch._C._len_torch_dispatch_stack() == before


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_flops_of_compiled_modules_are_counted_too(tmp_path: Path) -> None:
    module, speed = Plain(), Throughput(peak_flops=1e12)
    module.layer = torch.compile(module.layer, backend="aot_eager")  # type: ignore[assignment]
    trainer(tmp_path, [speed]).fit(module, plain_loader())
    assert speed._flops_per_image == 2 * 2 * 8 * 16


@pytest.mark.parametrize(
    ("batch", "length"),
    [
        (torch.zeros(3, 2), 3),
        (torch.tensor(1.0), 1),
        ({"name": ["a", "b"], "pixels": torch.zeros(2, 3)}, 2),
        ([("a",), (None, torch.zeros(5))], 5),
        ("words", 0),
        ({}, 0),
    ],
)
def test_the_batch_size_is_that_of_the_first_tensor(batch: Any, length: int) -> None:
    assert first_length(batch) == length


def test_without_training_there_is_no_throughput_to_report(tmp_path: Path) -> None:
    assert Throughput().row() == {}
    speed = Throughput()
    trainer(tmp_path, [speed], fast_dev_run=True).fit(Plain(), plain_loader())
    assert speed.row() == {}, "the only step is the first"


def test_rates_are_those_of_all_processes_and_shares_their_mean(clock: Clock, tmp_path: Path) -> None:
    """Another process that waits as long, but whose steps take three times as many tokens and FLOP."""
    speed = Throughput(peak_flops=200.0)
    house = trainer(tmp_path, [speed], limit_val_batches=0)
    there = torch.tensor([1.0, 1.0, 1.0, 1.0, 3.0, 3.0])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(house.strategy), "reduce", lambda _, mine, reduce_op: mine * (1 + there))
        patch.setattr("lightning.Trainer.world_size", 2)
        speed.on_train_start(house, Model(clock))
        for seconds in (0.0, 10.0):
            model = Telling(clock)
            model.work = Work(images=4, tokens=60, flops=100.0)
            model.log = lambda *_, **__: None  # type: ignore[assignment, method-assign]
            speed.on_train_batch_start(house, model, None, 0)
            clock.now += seconds
            speed.on_train_batch_end(house, model, None, None, 0)
        speed.on_train_end(house, model)
    row = speed.row()
    assert row["train/images_per_second"] == 0.8 and row["train/tokens_per_second"] == (60 + 180) / 10
    assert row["train/mfu"] == (100 + 300) / 10 / (2 * 200) and row["train/data_wait"] == 0
