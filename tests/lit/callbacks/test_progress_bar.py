"""How far a training is."""

import math
from types import SimpleNamespace

import pytest

from lit_pure.lit.callbacks.progress_bar import TrainingBar


@pytest.mark.parametrize(
    ("max_steps", "batches", "total"), [(30, math.inf, 120), (30, 7, 7), (-1, 7, 7)], ids=["stream", "epochs", "epoch"]
)
def test_the_progress_bar_shows_the_whole_training_where_there_are_no_epochs(
    max_steps: int, batches: float, total: float
) -> None:
    bar = TrainingBar()
    bar._trainer = SimpleNamespace(  # type: ignore[assignment]
        max_steps=max_steps, max_epochs=5, accumulate_grad_batches=4, num_training_batches=batches
    )
    assert bar.total_train_batches == total
