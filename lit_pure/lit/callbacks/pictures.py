"""What TensorBoard shows of validation and test: pictures side by side, entropy maps, answers of the model.

Knows Lightning's hooks and what modules keep (`protocols.py`). Knows nothing of how pictures are made. Of several
processes, the first one is shown. Without a TensorBoardLogger, as in `fast_dev_run`, nothing is shown. Files are
written by `save_pictures.py`.
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from lightning import Callback, LightningModule, Trainer
from torch.utils.tensorboard import SummaryWriter

from lit_pure.images.grid import labelled_grid
from lit_pure.images.labels import RESTORED
from lit_pure.images.maps import maps_beside
from lit_pure.lit.callbacks.batch_index import BatchIndex
from lit_pure.lit.callbacks.board import blacken, blacken_all, markdown, set_name, tensorboard_writer
from lit_pure.lit.callbacks.protocols import ShowsAnswers, ShowsEntropy, ShowsPictures, require


class _BoardCallback(Callback):
    """Shows what the module keeps: at the end of a validation its last pictures, in a test the first batches.

    These are the batches that begin among the first `keep` pictures of their set.

    Raises TypeError at the start if the module keeps nothing of the kind.
    """

    needs: ClassVar[type[Any]]

    def __init__(self, sets: Sequence[str] = (), keep: int = 100) -> None:
        """`sets`: names of the test loaders, in their order; without them, numbers. `keep`: pictures of each set."""
        self.sets, self.keep, self._index = sets, keep, BatchIndex()

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Refuse a module that has nothing to show."""
        require(self, pl_module, self.needs)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Show the last pictures."""
        writer = tensorboard_writer(trainer)
        if writer is not None and not trainer.sanity_checking:
            self.show(writer, pl_module, "val", trainer.global_step)

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """A test starts."""
        self._index.reset()

    def on_test_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Show the batch, if it is one of the first."""
        writer = tensorboard_writer(trainer)
        first = self._index.sample_indices(trainer, "test", dataloader_idx, batch, 1)[0]
        if writer is not None and first is not None and first < self.keep:
            self.show(writer, pl_module, f"test_{set_name(self.sets, dataloader_idx)}", batch_idx)

    def show(self, writer: SummaryWriter, module: Any, where: str, step: int) -> None:
        """Write to TensorBoard under `where/`."""
        raise NotImplementedError


class ImageGrid(_BoardCallback):
    """A row per picture, a column per label of `shown`."""

    needs = ShowsPictures

    def show(self, writer: SummaryWriter, module: ShowsPictures, where: str, step: int) -> None:
        """The tag names the columns."""
        if module.shown:
            writer.add_image(f"{where}/{' | '.join(module.shown)}", labelled_grid(blacken_all(module.shown)), step)


class EntropyMap(_BoardCallback):
    """Each picture beside the entropy of its tokens, with a legend (paper, figure 3: the higher, the darker)."""

    needs = ShowsEntropy

    def __init__(
        self,
        sets: Sequence[str] = (),
        label: str = RESTORED,
        limits: tuple[float, float] | None = None,
        keep: int = 100,
    ) -> None:
        """`label`: of the pictures in `shown`. `limits`: of the colours [nats]; None takes 0 to the module's
        `entropy_highest`, or those of each grid where it has none.
        """
        super().__init__(sets, keep)
        self.label, self.limits = label, limits

    def show(self, writer: SummaryWriter, module: ShowsEntropy, where: str, step: int) -> None:
        """The legend is in nats."""
        if len(module.entropy_Bhw) and self.label in module.shown:
            columns = {self.label: blacken(module.shown[self.label])}
            highest = getattr(module, "entropy_highest", None)
            limits = self.limits or ((0.0, highest) if highest else None)
            grid = maps_beside(columns, "entropy, dark is high", blacken(module.entropy_Bhw), "nats", limits)
            writer.add_image(f"{where}/entropy", grid, step)


class TextSamples(_BoardCallback):
    """The answers of the model: a table for each picture, with a line for each of its texts."""

    needs = ShowsAnswers

    def show(self, writer: SummaryWriter, module: ShowsAnswers, where: str, step: int) -> None:
        """The first line is the picture's name; texts that are empty are left out."""
        if module.answers:
            writer.add_text(f"{where}/answers", "\n\n".join(map(_standing, module.answers)), step)


def _standing(answer: Mapping[str, str | None]) -> str:
    """An answer as a table of two columns: in one row, its long texts would be columns of a few words."""
    (label, name), *texts = ((key, "(none)" if value is None else value) for key, value in answer.items())
    # With a space, which Markdown ignores, a picture may be called as its label.
    rows = [{label: key, f"{name} ": value} for key, value in texts if value]
    return markdown(rows or [{label: "", f"{name} ": ""}])
