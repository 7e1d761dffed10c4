"""A progress bar for trainings that count steps. Knows only Lightning's bar."""

import math
from typing import Any

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import TQDMProgressBar


class TrainingBar(TQDMProgressBar):
    """One bar for a whole training on an endless stream of data; where epochs exist, Lightning's own bar."""

    @property
    def total_train_batches(self) -> int | float:
        """Batches until the last optimizer step."""
        if self.trainer.max_steps < 0 or math.isfinite(self.trainer.num_training_batches):
            return super().total_train_batches
        return self.trainer.max_steps * self.trainer.accumulate_grad_batches

    def on_train_epoch_start(self, trainer: Trainer, *_: Any) -> None:
        """Name the bar."""
        super().on_train_epoch_start(trainer)
        self.train_progress_bar.set_description("Training")

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Close the bar, so that the error is printed on its own line."""
        if self._train_progress_bar is not None:
            self._train_progress_bar.close()
