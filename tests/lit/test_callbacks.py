"""What a run remembers and shows: first and last loss, with steps; pictures; how far it is."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from lit_pure.images.io import read_image
from lit_pure.lit.callbacks import LossHistory, Pictures, Progress, _table


def history(losses: list[float]) -> LossHistory:
    made = LossHistory()
    trainer: Any = SimpleNamespace(global_step=len(losses) // 2)  # two batches a step
    made.on_train_start(trainer, trainer)
    for step, loss in enumerate(losses):
        made.on_train_batch_end(trainer, trainer, {"loss": torch.tensor(loss)}, None, step)
    made.on_train_end(trainer, trainer)
    return made


def test_first_and_last_are_means_over_ten_batches_and_memory_is_bounded() -> None:
    made = history([float(batch) for batch in range(30)])
    row = made.row()
    assert len(made.first) == len(made.last) == 10
    assert (row["train/loss_first"], row["train/loss_last"], row["steps"]) == (4.5, 24.5, 15)


def test_a_short_training_uses_what_there_is_and_none_leaves_no_figure() -> None:
    assert history([2.0, 4.0]).row()["train/loss_first"] == pytest.approx(3.0)
    assert LossHistory().row() == {}


def test_answers_become_a_table_whatever_they_contain() -> None:
    assert _table([]) == ""
    table = _table([{"image": "a", "answer": "x | y"}]).splitlines()
    assert table == ["| image | answer |", "| --- | --- |", "| a | x \\| y |"]


def test_pictures_without_ground_truth_are_shown_without_it(tmp_path: Path) -> None:
    columns = {
        name: torch.full((2, 3, 16, 16), level) for name, level in (("LQ", 0.2), ("bicubic", 0.4), ("restored", 1.0))
    }
    trainer: Any = SimpleNamespace(is_global_zero=True, loggers=[])
    module: Any = SimpleNamespace(shown=columns)
    pictures = Pictures(tmp_path, ["web"], 1.0)
    pictures.on_test_batch_end(trainer, module, None, {"name": ["a", "b"]}, 0)
    assert sorted(path.name for path in (tmp_path / "web").iterdir()) == ["a.png", "b.png"]
    assert float(read_image(tmp_path / "web" / "b.png").min()) == 1
    module.shown = {**columns, "ground truth": columns["restored"]}
    pictures.on_test_batch_end(trainer, module, None, {"name": ["a", "b"]}, 1)
    without, with_truth = (read_image(path).shape[2] for path in pictures.written)
    assert without < with_truth


def test_the_bar_shows_the_whole_training() -> None:
    bar = Progress()
    bar._trainer = SimpleNamespace(max_steps=30, accumulate_grad_batches=4)  # type: ignore[assignment]
    assert bar.total_train_batches == 120
