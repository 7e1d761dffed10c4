"""What TensorBoard shows of validation and test: pictures side by side, entropy maps, what the model wrote.

Knows Lightning's hooks and what a module keeps for callbacks (`protocols.py`), not how it was made. On several
processes, those of the first one are shown. Without a TensorBoardLogger, as in `fast_dev_run`, nothing is shown; files
are written by `save_pictures.py`.
"""

from collections.abc import Sequence
from typing import Any, ClassVar

from lightning import Callback, LightningModule, Trainer
from torch.utils.tensorboard import SummaryWriter

from lit_pure.images.grid import labelled_grid
from lit_pure.images.maps import maps_beside
from lit_pure.lit.callbacks.batch_index import Places
from lit_pure.lit.callbacks.board import black, blackened, board, markdown, set_name
from lit_pure.lit.callbacks.protocols import ShowsAnswers, ShowsEntropy, ShowsPictures, require


class _Shown(Callback):
    """Shows what the module kept: at the end of a validation of its last pictures, in a test of batches.

    Of a test, those that begin among the first `keep` pictures of their set.

    Raises TypeError at the start where the module keeps nothing of the kind.
    """

    needs: ClassVar[type[Any]]

    def __init__(self, sets: Sequence[str] = (), keep: int = 100) -> None:
        """`sets`: names of the test loaders, in their order; numbers without. `keep`: of each set."""
        self.sets, self.keep, self._places = sets, keep, Places()

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Refuse a module that will never have anything to show."""
        require(self, pl_module, self.needs)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Show what the last pictures became."""
        writer = board(trainer)
        if writer is not None and not trainer.sanity_checking:
            self.show(writer, pl_module, "val", trainer.global_step)

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """A test begins anew."""
        self._places.reset()

    def on_test_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Show what the batch became."""
        writer = board(trainer)
        first = self._places.of(trainer, "test", dataloader_idx, batch, 1)[0]
        if writer is not None and first is not None and first < self.keep:
            self.show(writer, pl_module, f"test_{set_name(self.sets, dataloader_idx)}", batch_idx)

    def show(self, writer: SummaryWriter, module: Any, where: str, step: int) -> None:
        """Write to TensorBoard under `where/`."""
        raise NotImplementedError


class ImageGrid(_Shown):
    """A row per picture, a column per label of `shown`."""

    needs = ShowsPictures

    def show(self, writer: SummaryWriter, module: ShowsPictures, where: str, step: int) -> None:
        """The tag names the columns."""
        if module.shown:
            writer.add_image(f"{where}/{' | '.join(module.shown)}", labelled_grid(blackened(module.shown)), step)


class EntropyMap(_Shown):
    """Each picture beside the entropy of its tokens, with a legend (paper, figure 3: the higher, the darker)."""

    needs = ShowsEntropy

    def __init__(
        self,
        sets: Sequence[str] = (),
        label: str = "restored",
        limits: tuple[float, float] | None = None,
        keep: int = 100,
    ) -> None:
        """`label`: of the pictures in `shown`; `limits` [nats] of the colours, without which each grid has its own."""
        super().__init__(sets, keep)
        self.label, self.limits = label, limits

    def show(self, writer: SummaryWriter, module: ShowsEntropy, where: str, step: int) -> None:
        """The legend is in nats."""
        if len(module.entropy_Bhw) and self.label in module.shown:
            columns = {self.label: black(module.shown[self.label])}
            grid = maps_beside(columns, "entropy, dark is high", black(module.entropy_Bhw), "nats", self.limits)
            writer.add_image(f"{where}/entropy", grid, step)


class TextSamples(_Shown):
    """What the model wrote, as a table with a row per picture."""

    needs = ShowsAnswers

    def show(self, writer: SummaryWriter, module: ShowsAnswers, where: str, step: int) -> None:
        """Columns are the answers' keys."""
        if module.answers:
            writer.add_text(f"{where}/answers", markdown(module.answers), step)
