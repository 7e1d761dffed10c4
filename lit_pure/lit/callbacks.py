"""What a run shows and remembers: loss history, pictures, speed.

Knows Lightning's hooks and what modules keep for showing (`shown`, `answers`, `maps`). Knows nothing of how they made
it. Each callback works in any Lightning project whose module keeps the same attributes.
"""

import time
from collections import deque
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import TQDMProgressBar
from lightning.pytorch.loggers import TensorBoardLogger
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter

from lit_pure.images.color import heatmap
from lit_pure.images.grid import labelled_grid
from lit_pure.images.io import write_png
from lit_pure.photo import Restoration

WINDOW = 10
"""Batches that the first and the last loss of the summary are averaged over."""


@runtime_checkable
class ShowsPictures(Protocol):
    """A module that keeps pictures of its last batch: label -> (B, 3, H, W)."""

    shown: dict[str, Tensor]


@runtime_checkable
class ShowsAnswers(Protocol):
    """A module that keeps what the model wrote."""

    answers: list[dict[str, str]]
    maps: list[Restoration]


class Progress(TQDMProgressBar):
    """One bar for the whole training, which has no epochs of its own: samples come as one stream."""

    @property
    def total_train_batches(self) -> int:
        """Batches until the last optimizer step."""
        return self.trainer.max_steps * self.trainer.accumulate_grad_batches

    def on_train_epoch_start(self, trainer: Trainer, *_: Any) -> None:
        """Name the bar."""
        super().on_train_epoch_start(trainer)
        self.train_progress_bar.set_description("Training")


class LossHistory(Callback):
    """Remembers the first and the last training losses, the optimizer steps and the time a training took."""

    def __init__(self) -> None:
        self.first: list[Tensor] = []
        self.last: deque[Tensor] = deque(maxlen=WINDOW)
        self.steps = 0
        self.seconds = 0.0
        self._began = 0.0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock."""
        self._began = time.perf_counter()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Keep the loss on its device: reading it would make the device wait."""
        loss = outputs["loss"].detach()
        if len(self.first) < WINDOW:
            self.first.append(loss)
        self.last.append(loss)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop the clock."""
        self.steps = trainer.global_step
        self.seconds = time.perf_counter() - self._began

    def row(self) -> dict[str, float | int]:
        """First and last loss (means over up to 10 batches), steps and seconds; empty without a training."""
        if not self.first:
            return {}
        return {
            "train/loss_first": float(torch.stack(self.first).float().mean()),
            "train/loss_last": float(torch.stack(list(self.last)).float().mean()),
            "steps": self.steps,
            "train_seconds": round(self.seconds, 1),
        }


class Pictures(Callback):
    """Writes grids, entropy maps and answers to TensorBoard, and those of the test to `images/` as PNG too."""

    def __init__(self, folder: Path, sets: list[str], ceiling: float) -> None:
        """`ceiling`: the entropy that the map draws lightest [nats], ln of the number of codes."""
        self.folder, self.sets, self.ceiling = folder, sets, ceiling
        self.written: list[Path] = []

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Show what the first batch became."""
        if not trainer.sanity_checking:
            self._show(trainer, pl_module, "val", trainer.global_step)

    def on_test_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Keep the pictures of the test: a grid per batch, and each restored picture by itself."""
        name = self.sets[dataloader_idx]
        self._show(trainer, pl_module, f"test_{name}", batch_idx)
        if not trainer.is_global_zero or not isinstance(pl_module, ShowsPictures) or not pl_module.shown:
            return
        (self.folder / name).mkdir(parents=True, exist_ok=True)
        grid_path = self.folder / f"{name}_{batch_idx}.png"
        write_png(grid_path, labelled_grid(pl_module.shown))
        self.written.append(grid_path)
        for row, photo in enumerate(batch["name"][: len(_restored(pl_module.shown))]):
            write_png(self.folder / name / f"{photo}.png", _restored(pl_module.shown)[row].cpu())

    def _show(self, trainer: Trainer, module: LightningModule, where: str, step: int) -> None:
        writer = _writer(trainer)
        if writer is None or not isinstance(module, ShowsPictures) or not module.shown:
            return
        writer.add_image(f"{where}/{' | '.join(module.shown)}", labelled_grid(module.shown), step)
        if isinstance(module, ShowsAnswers) and module.maps:
            side = next(iter(module.shown.values())).shape[-1]
            label = f"entropy 0 .. {self.ceiling:.1f} nats, light is high"
            maps = [heatmap(one.entropy_hw, 0.0, self.ceiling, side // one.entropy_hw.shape[-1]) for one in module.maps]
            grid = labelled_grid({"restored": _restored(module.shown), "entropy": torch.stack(maps)})
            writer.add_image(f"{where}/{label}", grid, step)
            writer.add_text(f"{where}/answers", _table(module.answers), step)


def _restored(shown: dict[str, Tensor]) -> Tensor:
    """The pictures a module made, whatever it calls them."""
    return shown["restored"] if "restored" in shown else shown["reconstructed"]


def _table(rows: list[dict[str, str]]) -> str:
    """Rows as a Markdown table."""
    if not rows:
        return ""
    lines = [list(rows[0]), ["---"] * len(rows[0]), *(list(row.values()) for row in rows)]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def _writer(trainer: Trainer) -> SummaryWriter | None:
    """TensorBoard's writer, on the process that has one."""
    for logger in trainer.loggers:
        if isinstance(logger, TensorBoardLogger) and trainer.is_global_zero:
            experiment = logger.experiment
            assert isinstance(experiment, SummaryWriter)
            return experiment
    return None
