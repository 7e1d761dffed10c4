"""What a run asks of its LightningModule, whatever the family.

Knows what every module answers: which weights it leaves, what it scores, which callbacks show it, what the summary
says of it. Knows nothing of what a module computes.
"""

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

from lightning import Callback, LightningModule
from torch import Tensor

from lit_pure.lit.callbacks.pictures import ImageGrid
from lit_pure.lit.data import PhotoDataModule
from lit_pure.lit.scores import Scores


class RunModule(LightningModule, ABC):
    """A LightningModule that `lit/build.py` can make a run of."""

    scores: Scores | None = None
    """Scores of its test; None where it has none of single pictures."""
    shown: dict[str, Tensor]
    """Pictures of the batch it saw last, for callbacks."""

    def __init__(self) -> None:
        super().__init__()
        self.shown = {}

    @abstractmethod
    def save_weights(self, folder: Path, writes: bool) -> None:
        """Keep what was trained. All processes come here, since a network may be cut into pieces; one `writes`."""

    def finish_training(self, data: PhotoDataModule) -> None:
        """What is left to do after the last step, before saving; weights are the averaged ones where there are any."""

    def picture_callbacks(self, sets: list[str], keep: int) -> list[Callback]:
        """What shows its pictures while it runs, of these test sets; of each set the first `keep`."""
        return [ImageGrid(sets, keep)]

    def summary_row(self) -> dict[str, Any]:
        """What the summary says of how it was scored, beside what the figures depend on."""
        return {}
