"""What a run asks of its LightningModule, whatever the family.

Knows what every module answers: which weights it leaves, what it scores, which callbacks show it, what the summary
says of it. Knows nothing of what a module computes.
"""

import math
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, Self

import torch
from lightning import Callback, LightningModule
from lightning.pytorch.plugins.io import TorchCheckpointIO
from torch import Tensor

from lit_pure.config.experiment import Experiment
from lit_pure.lit.any_checkpoint import AnyCheckpoint
from lit_pure.lit.callbacks.pictures import ImageGrid
from lit_pure.lit.data import PhotoDataModule
from lit_pure.lit.distributed.strategies import FolderCheckpoints
from lit_pure.lit.scores import Scores


class RunModule(LightningModule, ABC):
    """A LightningModule that `lit/build.py` can make a run of, and that any Trainer of Lightning trains."""

    config: Experiment
    scores: Scores | None = None
    """Scores of its test; None where it has none of single pictures."""
    shown: dict[str, Tensor]
    """Pictures of the batch it saw last, for callbacks."""

    def __init__(self) -> None:
        super().__init__()
        self.shown = {}

    @classmethod
    def load_from_checkpoint(
        cls,
        checkpoint_path: Any,
        map_location: Any = None,
        hparams_file: Any = None,
        strict: bool | None = None,
        weights_only: bool | None = None,
        **changes: Any,
    ) -> Self:
        """The module with the weights of a checkpoint, which knows its settings: nothing else is to be said.

        Args:
            checkpoint_path: a file that a Trainer of Lightning wrote, or the folder of a run's checkpoint.
            map_location: the device to move it to; None: the CPU.
            hparams_file: refused, as `changes` are, since settings are those of the checkpoint.
            strict: whether the checkpoint must have exactly the tensors of the module; None: it must.
            weights_only: not used, since nothing but tensors, numbers and words is ever loaded.
            changes: refused.

        Raises:
            ValueError: it is no checkpoint, is one of another module, or has no settings.
            MissingRun: a run that it was built on, such as its tokenizer, is missing.
        """
        from lit_pure.lit.modules import load_module  # which knows all modules

        if refused := [*changes, *(["hparams_file"] if hparams_file else [])]:
            raise ValueError(
                f"load_from_checkpoint takes no {', '.join(refused)}: settings are those of the checkpoint; to train "
                "with others, build a module and give the checkpoint to Trainer.fit(ckpt_path=...)"
            )
        module = load_module(Path(checkpoint_path), strict is not False)
        if not isinstance(module, cls):
            kind = type(module).__name__
            raise ValueError(f"{checkpoint_path} is a checkpoint of {kind}, not of {cls.__name__}; load it with {kind}")
        return module if map_location is None else module.to(map_location)

    def setup(self, stage: str) -> None:
        """Let Lightning's own strategies read our folders, too."""
        strategy = self.trainer.strategy
        if not isinstance(strategy, FolderCheckpoints) and type(strategy.checkpoint_io) is TorchCheckpointIO:
            strategy.checkpoint_io = AnyCheckpoint(self)

    @property
    def planned_steps(self) -> int:
        """Optimizer steps of the whole training, which the schedule spans: those of its Trainer, or of its settings."""
        trainer = self._trainer
        if trainer is None:
            return self.config.trainer.max_steps
        if trainer.max_steps > 0:
            return trainer.max_steps
        steps = trainer.estimated_stepping_batches
        return int(steps) if math.isfinite(steps) else self.config.trainer.max_steps

    @abstractmethod
    def save_weights(self, folder: Path, writes: bool) -> None:
        """Keep what was trained. All processes come here, since a network may be cut into pieces; one `writes`."""

    def finish_training(self, data: PhotoDataModule) -> None:
        """What is left to do after the last step, before saving; weights are the averaged ones where there are any."""

    def picture_callbacks(self, sets: list[str], keep: int) -> list[Callback]:
        """What shows its pictures while it runs, of these test sets; of each set the first `keep`."""
        return [ImageGrid(sets, keep)]

    def computing(self, device: torch.device) -> dict[str, str]:
        """What its choices of kernels come to on a device, for provenance. Raises ValueError for one it cannot have."""
        return {}

    def summary_row(self) -> dict[str, Any]:
        """What the summary says of how it was scored, beside what the figures depend on."""
        return {}
