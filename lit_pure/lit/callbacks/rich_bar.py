"""The same bar as `progress_bar.py`'s, drawn by rich. Knows Lightning's rich bar, and counts optimizer steps."""

from typing import Any

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import RichProgressBar

from lit_pure.lit.callbacks.endless import is_endless


class RichTrainingBar(RichProgressBar):
    """One bar for a whole training on an endless stream of data; where epochs exist, Lightning's, which counts batches.

    Raises ModuleNotFoundError without rich.
    """

    @property
    def total_train_batches(self) -> int | float:
        """Optimizer steps; batches where epochs exist."""
        return self.trainer.max_steps if is_endless(self.trainer) else super().total_train_batches

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Show the step, also of a resumed training, and what is logged for the bar."""
        super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)
        if is_endless(trainer):
            self._update(self.train_progress_bar_id, trainer.global_step)

    def _get_train_description(self, current_epoch: int) -> str:
        return "Training" if is_endless(self.trainer) else super()._get_train_description(current_epoch)
