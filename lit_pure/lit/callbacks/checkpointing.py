"""When a training writes checkpoints, and which of them are kept.

Knows steps, validations and Lightning's Trainer with one of our strategies. Knows nothing of files
(`lit/distributed/saving.py`).
"""

from pathlib import Path

import torch
from lightning import Callback, LightningModule, Trainer

from lit_pure.lit.distributed.saving import SaveOptions
from lit_pure.lit.distributed.strategies import FolderCheckpoints
from lit_pure.runs import checkpoints


class Checkpointing(Callback):
    """Saves every N optimizer steps, and at the end of training.

    A checkpoint holds a finished step, with the validation of that step if there is one. Training continues while it is
    written; if that fails, one line is logged and the last good checkpoint is kept. Callbacks after this one, and the
    module's `on_train_batch_end`, have not seen the step yet when it is saved.
    """

    def __init__(self, folder: Path, every: int, keep_last: int = 2, keep_best: int = 1) -> None:
        """
        Args:
            folder: of the checkpoints; incomplete ones of an earlier process are removed.
            every: optimizer steps between two checkpoints.
            keep_last: how many of the newest to keep.
            keep_best: how many of those with the lowest val/loss to keep as well.
        """
        self.folder, self.every, self.keep_last, self.keep_best = folder, every, keep_last, keep_best
        self._seen = self._saved = 0
        self._due = False
        self._score: tuple[int, float] | None = None

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Take the folder of the first process, and remove incomplete checkpoints there."""
        if stage != "fit":
            return
        self.folder = trainer.strategy.broadcast(self.folder)
        if trainer.is_global_zero:
            checkpoints.clear_incomplete(self.folder)
            self.folder.mkdir(parents=True, exist_ok=True)
        trainer.strategy.barrier()

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """The checkpoint that a resumed training starts from exists already."""
        self._seen = self._saved = trainer.global_step
        self._due, self._score = False, None

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: object, batch: object, batch_idx: int
    ) -> None:
        """Save, unless this step is validated first."""
        _strategy(trainer).poll_saving()
        stepped, self._seen = trainer.global_step > self._seen, trainer.global_step
        self._due = self._due or (stepped and trainer.global_step % self.every == 0)
        if self._due and not _validates_next(trainer):
            self._save(trainer)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Note the loss; save a checkpoint that waited for it."""
        if trainer.state.fn != "fit" or trainer.sanity_checking:
            return
        if (loss := trainer.callback_metrics.get(checkpoints.SCORE)) is not None and torch.isfinite(loss):
            self._score = trainer.global_step, float(loss)
        if self._due:
            self._save(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save the last step, too; a failure is logged, but does not fail the training."""
        if trainer.global_step > self._saved:
            self._save(trainer)
        _strategy(trainer).settle_saving()

    def save_now(self, trainer: Trainer) -> None:
        """Save this step, all processes together, and wait. Raises ValueError if it fails."""
        strategy = _strategy(trainer)
        strategy.settle_saving()
        found = checkpoints.newest(self.folder)
        if strategy.agree(float(found is not None and found.step == trainer.global_step), "min") == 0:
            self._save(trainer)
            strategy.finish_saving()

    def _save(self, trainer: Trainer) -> None:
        self._due, self._saved = False, trainer.global_step
        score = self._score[1] if self._score is not None and self._score[0] == trainer.global_step else None
        options = SaveOptions(score, self._prune)
        trainer.save_checkpoint(checkpoints.path(self.folder, trainer.global_step), False, options)

    def _prune(self) -> None:
        checkpoints.prune(self.folder, self.keep_last, self.keep_best)


def _strategy(trainer: Trainer) -> FolderCheckpoints:
    strategy = trainer.strategy
    if not isinstance(strategy, FolderCheckpoints):
        raise TypeError(f"Checkpointing needs one of lit/distributed/strategies.py, not {type(strategy).__name__}")
    return strategy


def _validates_next(trainer: Trainer) -> bool:
    """Whether Lightning validates before the next batch."""
    loop = trainer.fit_loop
    assert loop._data_fetcher is not None
    return loop.epoch_loop._should_check_val_fx(loop._data_fetcher)
