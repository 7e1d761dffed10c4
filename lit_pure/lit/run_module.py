"""What a run asks of its LightningModule, whatever the family.

Knows what every module answers: which weights it leaves, what it scores, which callbacks show it, what the summary
says of it. Knows nothing of what a module computes.
"""

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, Never

import torch
from lightning import Callback, LightningModule
from lightning.pytorch.plugins.io import TorchCheckpointIO
from torch import Tensor

from lit_pure.config.training import TrainerConfig
from lit_pure.lit.callbacks.pictures import ImageGrid
from lit_pure.lit.data import PhotoDataModule
from lit_pure.lit.distributed.strategies import FolderCheckpoints
from lit_pure.lit.scores import Scores


class FilesOnly(TorchCheckpointIO):
    """Lightning's own checkpoints, which are files."""

    def load_checkpoint(self, path: Any, *given: Any, **named: Any) -> dict[str, Any]:
        """Read a file. Raises ValueError for a folder, naming what reads it."""
        if Path(path).is_dir():
            raise ValueError(
                f"{path} is a folder, which this Trainer cannot read; make it with "
                "Trainer(strategy=lit_pure.lit.distributed.strategies.strategy_of(experiment.trainer), ...)"
            )
        return super().load_checkpoint(path, *given, **named)


class RunModule(LightningModule, ABC):
    """A LightningModule that `lit/build.py` can make a run of."""

    scores: Scores | None = None
    """Scores of its test; None where it has none of single pictures."""
    shown: dict[str, Tensor]
    """Pictures of the batch it saw last, for callbacks."""

    def __init__(self) -> None:
        super().__init__()
        self.shown = {}

    @classmethod
    def load_from_checkpoint(cls, checkpoint_path: Any, *_: Any, **__: Any) -> Never:
        """Raises ValueError that names what reads our checkpoints: they are folders, and settings are in the run's."""
        raise ValueError(
            f"{checkpoint_path}: a checkpoint of a run is a folder, and its settings are in the run's config.yaml; "
            "read it with lit_pure.lit.modules.load_module(FOLDER), or write its weights with lit-pure export"
        )

    def setup(self, stage: str) -> None:
        """Let a Trainer without one of our strategies refuse checkpoints of ours in a line."""
        strategy = self.trainer.strategy
        if not isinstance(strategy, FolderCheckpoints) and type(strategy.checkpoint_io) is TorchCheckpointIO:
            strategy.checkpoint_io = FilesOnly()

    def total_steps(self, config: TrainerConfig) -> int:
        """Optimizer steps of its training, over which learning rates come down."""
        return self.trainer.max_steps if self._trainer is not None else config.max_steps

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
