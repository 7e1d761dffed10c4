"""What a run remembers of its loss."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from lit_pure.lit.callbacks.loss_history import LossHistory
from tests.lit.callbacks.foreign import Plain, plain_loader, trainer


def history(losses: list[float]) -> LossHistory:
    made = LossHistory()
    trainer: Any = SimpleNamespace(global_step=len(losses) // 2, accumulate_grad_batches=1, world_size=1)
    trainer.automatic_optimization = True
    made.on_train_start(trainer, trainer)
    for step, loss in enumerate(losses):
        made.on_train_batch_end(trainer, trainer, {"loss": torch.tensor(loss)}, None, step)
    made.on_train_end(trainer, trainer)
    return made


def test_first_and_last_loss_are_means_over_ten_batches_in_bounded_memory() -> None:
    made = history([float(batch) for batch in range(30)])
    row = made.row()
    assert len(made.first) == len(made.last) == 10
    assert (row["train/loss_first"], row["train/loss_last"], row["steps"]) == (4.5, 24.5, 15)


def test_the_losses_of_a_short_training_are_means_over_all_batches_and_no_batch_gives_no_figure() -> None:
    assert history([2.0, 4.0]).row()["train/loss_first"] == pytest.approx(3.0)
    assert LossHistory().row() == {}


def test_skipped_steps_do_not_count_in_the_loss_history() -> None:
    row = history([2.0, float("nan"), float("inf"), 4.0]).row()
    assert row["train/loss_first"] == row["train/loss_last"] == 3.0


@pytest.mark.parametrize("outputs", [None, {}, {"loss": None}])
def test_steps_without_a_loss_do_not_count_in_the_loss_history(outputs: Any) -> None:
    made = history([2.0])
    made.on_train_batch_end(None, None, outputs, None, 1)  # type: ignore[arg-type]
    assert made.row()["train/loss_last"] == 2


@pytest.mark.filterwarnings("ignore:.*does not have many workers")
@pytest.mark.parametrize("accumulate", [1, 2])
def test_losses_are_those_of_whole_batches_however_many_make_a_step(accumulate: int, tmp_path: Path) -> None:
    class Nine(Plain):
        def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
            return 0 * super().training_step(batch, batch_idx) + 9 + batch_idx

    made = LossHistory()
    trainer(tmp_path, [made], accumulate_grad_batches=accumulate).fit(Nine(), plain_loader())
    assert made.row()["train/loss_first"] == made.row()["train/loss_last"] == 10, "9, 10 and 11"
