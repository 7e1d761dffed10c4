"""What a training's summary says of its loss. Knows Lightning's hooks, and nothing of models."""

import time
from collections import deque
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer
from torch import Tensor

LOSS = "train/loss"
WINDOW = 10
"""Batches that the first and the last loss of the summary are averaged over."""


class LossHistory(Callback):
    """Remembers the first and the last training losses, the optimizer steps and the time a training took.

    Steps without a loss (manual optimization that returns none, a skipped batch) are passed over.
    """

    def __init__(self) -> None:
        self.first: list[Tensor] = []
        self.last: deque[Tensor] = deque(maxlen=WINDOW)
        self.steps = 0
        self.seconds = 0.0
        self._began = self._before = 0.0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock."""
        self._began = time.perf_counter()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Keep the loss on its device: reading it would make the device wait."""
        loss = outputs.get("loss") if isinstance(outputs, Mapping) else outputs
        if not isinstance(loss, Tensor):
            return
        loss = loss.detach()
        if pl_module.automatic_optimization and trainer.accumulate_grad_batches > 1:
            loss = loss * trainer.accumulate_grad_batches  # Lightning hands over the batch's share of the step
        # What is learned from is this process's share; what is logged under this name is that of all of them.
        loss = trainer.callback_metrics.get(LOSS, loss) if trainer.world_size > 1 else loss
        if len(self.first) < WINDOW:
            self.first.append(loss)
        self.last.append(loss)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop the clock."""
        self.steps = trainer.global_step
        self.seconds = self._seconds()

    def state_dict(self) -> dict[str, Any]:
        """For a training that goes on: the losses so far, and its time."""
        return {
            "first": [float(loss) for loss in self.first],
            "last": [float(loss) for loss in self.last],
            "seconds": self._seconds(),
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on remembering; float32 values survive as Python's numbers."""
        self.first = [torch.tensor(loss) for loss in state_dict["first"]]
        self.last = deque((torch.tensor(loss) for loss in state_dict["last"]), maxlen=WINDOW)
        self._before = float(state_dict["seconds"])

    def _seconds(self) -> float:
        """Of this launch, and of those before it."""
        return self._before + (time.perf_counter() - self._began if self._began else 0.0)

    def row(self) -> dict[str, float | int]:
        """First and last loss (means over up to 10 batches), steps and seconds; empty without a training."""
        if not self.first:
            return {}
        return {
            "train/loss_first": _mean(self.first),
            "train/loss_last": _mean(self.last),
            "steps": self.steps,
            "train_seconds": round(self.seconds, 1),
        }


def _mean(losses: Iterable[Tensor]) -> float:
    """Of losses that may lie on different devices; those of steps that were left out are not finite, and left out."""
    every = torch.stack([loss.detach().float().cpu() for loss in losses])
    return float(every[every.isfinite()].mean())
