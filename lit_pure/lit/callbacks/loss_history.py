"""The losses, steps and time of a training, for its summary. Knows Lightning's hooks, and nothing of models."""

import time
from collections import deque
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer
from torch import Tensor

LOSS = "train/loss"
WINDOW = 10
"""Number of batches in the first and in the last loss of the summary."""


class LossHistory(Callback):
    """Keeps the first and the last training losses, the optimizer steps and the time of a training.

    Steps without a loss (manual optimization that returns none, a skipped batch) are ignored.
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
            loss = loss * trainer.accumulate_grad_batches  # Lightning divides the loss by the number of batches
        # The loss that is returned is this process's share; the one logged under this name is that of all processes.
        loss = trainer.callback_metrics.get(LOSS, loss) if trainer.world_size > 1 else loss
        if len(self.first) < WINDOW:
            self.first.append(loss)
        self.last.append(loss)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop the clock."""
        self.steps = trainer.global_step
        self.seconds = self._seconds()

    def state_dict(self) -> dict[str, Any]:
        """For a resumed training: the losses so far, and the time."""
        return {
            "first": [float(loss) for loss in self.first],
            "last": [float(loss) for loss in self.last],
            "seconds": self._seconds(),
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue from a checkpoint; float32 values are exact as Python's numbers."""
        self.first = [torch.tensor(loss) for loss in state_dict["first"]]
        self.last = deque((torch.tensor(loss) for loss in state_dict["last"]), maxlen=WINDOW)
        self._before = float(state_dict["seconds"])

    def _seconds(self) -> float:
        """The time of this launch and of those before it."""
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
    """The mean of finite losses, which may be on different devices; losses of skipped steps are not finite."""
    every = torch.stack([loss.detach().float().cpu() for loss in losses])
    return float(every[every.isfinite()].mean())
