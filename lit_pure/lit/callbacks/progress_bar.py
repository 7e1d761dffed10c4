"""How far a training is: a bar on a terminal, a line now and then where there is none, as in the log of a queue.

Knows Lightning's bar, and counts optimizer steps. Where epochs exist, Lightning's own bar counts batches.
"""

import logging
import sys
import time
from datetime import timedelta
from importlib.util import find_spec
from typing import Any

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import ProgressBar, TQDMProgressBar
from lightning.pytorch.callbacks.progress.tqdm_progress import Tqdm

from lit_pure.lit.callbacks.endless import is_endless

log = logging.getLogger(__name__)

EVERY = 30.0
"""Time between lines where there is no terminal [s]."""


def make_progress_bar() -> ProgressBar:
    """rich's bar on a terminal if rich is installed, else tqdm's, which prints lines where there is no terminal."""
    if sys.stdout.isatty() and find_spec("rich"):
        from lit_pure.lit.callbacks.rich_bar import RichTrainingBar

        return RichTrainingBar()
    return TrainingBar()


class TrainingBar(TQDMProgressBar):
    """One bar for a whole training on an endless stream of data, from the step that it starts or resumes at."""

    def __init__(self, every: float = EVERY) -> None:
        """`every`: time between lines where standard output is no terminal, which get no bar [s]."""
        super().__init__()
        self.every = every
        self._lines = not sys.stdout.isatty()
        self._first = self._step = 0
        self._began = self._said = 0.0
        if self._lines:
            self.disable()

    def enable(self) -> None:
        """Show the bar, if there is a terminal."""
        if not self._lines:
            super().enable()

    @property
    def total_train_batches(self) -> int | float:
        """Optimizer steps; batches where epochs exist."""
        return self.trainer.max_steps if self._is_endless else super().total_train_batches

    @property
    def _is_endless(self) -> bool:
        return is_endless(self.trainer)

    def init_train_tqdm(self) -> Tqdm:
        """The bar; the rate counts from the first step of this launch."""
        if not self._is_endless:
            return super().init_train_tqdm()
        return Tqdm(
            desc="Training",
            initial=self.trainer.global_step,
            total=self.trainer.max_steps,
            disable=self.is_disabled,
            dynamic_ncols=True,
            file=sys.stdout,
            smoothing=0,
            bar_format=self.BAR_FORMAT,
        )

    def on_train_start(self, trainer: Trainer, *_: Any) -> None:
        """Start to count."""
        super().on_train_start(trainer, *_)
        self._first = self._step = trainer.global_step
        self._began = time.monotonic()
        self._said = self._began

    def on_train_epoch_start(self, trainer: Trainer, *_: Any) -> None:
        """The bar goes on over epochs, if there are none."""
        if not self._is_endless:
            super().on_train_epoch_start(trainer, *_)
            self.train_progress_bar.set_description("Training")

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Show the step and its loss."""
        if not self._is_endless:
            super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)
        if trainer.global_step == self._step:  # in the middle of an accumulation
            return
        self._step = trainer.global_step
        if self._is_endless and not self.train_progress_bar.disable:
            self.train_progress_bar.n = self._step
            self.train_progress_bar.set_postfix(self.get_metrics(trainer, pl_module))
        if self._is_due() or (self._lines and self._step == trainer.max_steps):
            log.info("%s", self._line(trainer))

    def on_validation_batch_end(self, *given: Any, **named: Any) -> None:
        """Say so where it takes long."""
        super().on_validation_batch_end(*given, **named)
        self._say_batch("validation", given[4], self.total_val_batches_current_dataloader)

    def on_test_batch_end(self, *given: Any, **named: Any) -> None:
        """Say so where it takes long."""
        super().on_test_batch_end(*given, **named)
        self._say_batch("test", given[4], self.total_test_batches_current_dataloader)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Close the bar, so that the error is printed on its own line."""
        if self._train_progress_bar is not None:
            self._train_progress_bar.close()

    def _is_due(self) -> bool:
        """Whether a line is to be printed; the next one is due later then."""
        if not self._lines or time.monotonic() - self._said < self.every:
            return False
        self._said = time.monotonic()
        return True

    def _say_batch(self, what: str, batch: int, batches: float) -> None:
        if self._is_due():
            log.info("%s: batch %d of %s", what, batch + 1, f"{batches:g}")

    def _line(self, trainer: Trainer) -> str:
        """Step, losses, rate and time left."""
        step, total = trainer.global_step, trainer.max_steps
        rate = (step - self._first) / max(time.monotonic() - self._began, 1e-9)
        shown = [f"{name} {float(value):.3f}" for name, value in trainer.progress_bar_metrics.items()]
        left = [f"{timedelta(seconds=round((total - step) / rate))} left"] if rate and total > 0 else []
        return ", ".join(
            [f"step {step} of {total}" if total > 0 else f"step {step}", *shown, f"{rate:.3g} steps/s", *left]
        )
