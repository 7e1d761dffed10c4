"""How much of a training step goes into its data.

Knows the hooks between which a step waits for its batch, has it made on the device, and learns from it. Knows nothing
of what a batch is. Times are those of the host: where a GPU still works on the step before, some of the waiting is
hidden behind it, so on a GPU the shares are upper bounds.
"""

import time
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from lightning import Callback, LightningModule, Trainer

WINDOW = 50
"""Steps that a logged share is taken over."""


@runtime_checkable
class HandsOver(Protocol):
    """A LightningDataModule that notes when the loader handed it a batch."""

    handed_over: float
    """`time.perf_counter()` at that moment [s]."""


@dataclass(frozen=True)
class Step:
    """Where the time of one step went [s]."""

    waited: float
    """For the loader: decoding and cropping that was not ready."""
    made: float
    """Moving the batch, degrading it, scoring it."""
    whole: float


class DataWait(Callback):
    """Logs shares of the step: `train/data_wait`, waited for the loader; `train/data_made`, degradation and scores.

    Steps with a validation or a checkpoint before them are left out, as is the first one.
    """

    def __init__(self) -> None:
        self.steps = 0
        """Steps that were counted."""
        self._all = Step(0.0, 0.0, 0.0)
        self._window: deque[Step] = deque(maxlen=WINDOW)
        self._end: float | None = None
        self._handed_over = self._began = 0.0

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """The batch is ready."""
        data = getattr(trainer, "datamodule", None)
        self._began = time.perf_counter()
        self._handed_over = data.handed_over if isinstance(data, HandsOver) else self._began

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """The step is done."""
        now = time.perf_counter()
        if self._end is not None:
            step = Step(self._handed_over - self._end, self._began - self._handed_over, now - self._end)
            self.steps += 1
            self._all = _sum([self._all, step])
            self._window.append(step)
            for name, share in _shares(_sum(self._window)).items():
                pl_module.log(name, share)
        self._end = now

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """What comes now is no waiting."""
        self._end = None

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Nor is this."""
        self._end = None

    def row(self) -> dict[str, float]:
        """Shares over the whole training; empty without one."""
        return {name: round(share, 4) for name, share in _shares(self._all).items()} if self.steps else {}


def _sum(steps: Iterable[Step]) -> Step:
    waited, made, whole = (
        sum(times) for times in zip(*((one.waited, one.made, one.whole) for one in steps), strict=True)
    )
    return Step(waited, made, whole)


def _shares(step: Step) -> dict[str, float]:
    return {"train/data_wait": step.waited / step.whole, "train/data_made": step.made / step.whole}
