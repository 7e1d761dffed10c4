"""How far a training is."""

import io
import logging
import math
import re
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import ProgressBar
from torch.utils.data import DataLoader, IterableDataset

from lit_pure.lit.callbacks import progress_bar
from lit_pure.lit.callbacks.progress_bar import TrainingBar, make_progress_bar
from lit_pure.lit.callbacks.rich_bar import RichTrainingBar


@pytest.mark.parametrize(
    ("max_steps", "batches", "total"), [(30, math.inf, 30), (30, 7, 7), (-1, 7, 7)], ids=["stream", "epochs", "epoch"]
)
def test_the_progress_bar_shows_the_whole_training_where_there_are_no_epochs(
    max_steps: int, batches: float, total: float
) -> None:
    bar = TrainingBar()
    bar._trainer = SimpleNamespace(  # type: ignore[assignment]
        max_steps=max_steps, max_epochs=5, accumulate_grad_batches=4, num_training_batches=batches
    )
    assert bar.total_train_batches == total


class Endless(IterableDataset[torch.Tensor]):
    def __iter__(self):  # type: ignore[no-untyped-def]
        while True:
            yield torch.ones(2)


class Small(LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(2, 1)

    def training_step(self, batch: torch.Tensor, batch_idx: int) -> torch.Tensor:
        loss = self.layer(batch).square().mean()
        self.log("train/loss", loss, prog_bar=True)
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.01)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def fit(bar: ProgressBar, steps: int, folder: Path, start: Path | None = None) -> Path:
    """Two batches a step; the checkpoint at the end."""
    trainer = Trainer(
        max_steps=steps,
        accelerator="cpu",
        accumulate_grad_batches=2,
        logger=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        callbacks=[bar],
    )
    trainer.fit(Small(), DataLoader(Endless(), batch_size=2), ckpt_path=start)
    trainer.save_checkpoint(folder / "last.ckpt")
    return folder / "last.ckpt"


def test_on_a_terminal_a_resumed_bar_counts_steps_from_where_it_starts(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    before = fit(TrainingBar(), 3, tmp_path)
    monkeypatch.setattr(sys, "stdout", screen := Terminal())
    bar = TrainingBar()
    fit(bar, 5, tmp_path, before)
    assert "/?" not in screen.getvalue() and "3/5" in screen.getvalue() and "5/5" in screen.getvalue()
    assert bar.train_progress_bar.initial == 3, "the rate is that of this launch's steps"
    assert "2/5" not in screen.getvalue() and "6/" not in screen.getvalue()


@pytest.mark.parametrize(("every", "steps"), [(0.0, [1, 2, 3]), (3600.0, [3])], ids=["each", "the last"])
def test_without_a_terminal_there_are_lines_and_no_bar(
    every: float,
    steps: list[int],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    caplog.set_level(logging.INFO, "lit_pure")
    fit(TrainingBar(every), 3, tmp_path)
    said = [record.getMessage() for record in caplog.records if record.name.startswith("lit_pure")]
    pattern = r"step (\d) of 3, train/loss \d\.\d{3}, \S+ steps/s, 0:00:\d\d left"
    matches = [re.fullmatch(pattern, line) for line in said]
    assert all(matches) and list(dict.fromkeys(int(match[1]) for match in matches if match)) == steps
    assert "\r" not in capsys.readouterr().out


def test_on_a_terminal_it_is_rich_s_bar_if_rich_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert type(make_progress_bar()) is TrainingBar, "there is no terminal here"
    monkeypatch.setattr(sys, "stdout", Terminal())
    assert type(make_progress_bar()) is RichTrainingBar
    monkeypatch.setattr(progress_bar, "find_spec", lambda name: None)
    assert type(make_progress_bar()) is TrainingBar


def test_rich_s_bar_counts_the_steps_of_the_whole_training_also_of_a_resumed_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    before = fit(TrainingBar(), 3, tmp_path)
    seen: list[tuple[float, float | None, str]] = []

    class Looks(RichTrainingBar):
        def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
            task = self.train_progress_bar
            seen.append((task.completed, task.total, task.description))

    monkeypatch.setattr(sys, "stdout", Terminal())
    fit(Looks(), 5, tmp_path, before)
    assert [(done, total) for done, total, _ in seen] == [(5, 5)] and "Training" in seen[0][2]
