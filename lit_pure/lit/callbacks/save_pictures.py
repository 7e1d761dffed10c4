"""The files that a test leaves: each picture by itself, what the model wrote, grids to look at.

Knows the layout below `images/` and what modules tell (`protocols.py`); nothing of how it was made.

    <set>/<method>/<image>.png    what the module made, of every picture, by the process that made it
    <set>/lq, hq/<image>.png      of the first pictures of a set, what it was made from and should have been
    <set>/answers.jsonl           one line per picture, in the order of the set
    <set>_<batch>.png             the same pictures side by side, of the batches that begin among the first
"""

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer

from lit_pure.files.atomic import write_whole
from lit_pure.images.grid import labelled_grid
from lit_pure.images.io import write_png
from lit_pure.lit.callbacks.batch_index import Places, column
from lit_pure.lit.callbacks.board import black, blackened, set_name
from lit_pure.lit.callbacks.protocols import ShowsAnswers, ShowsPictures, require

log = logging.getLogger(__name__)

METHODS = ("restored", "reconstructed")
"""Labels of pictures that a model made."""
SOURCES = {"lq": "lq_B3hw", "hq": "hq_B3HW"}
"""Folder -> key of the batch, as ours are."""


class KeepPictures(Callback):
    """Writes a test's pictures and answers to files; anything already there by the same name is replaced.

    A picture is called by the batch's "name" and has its place in the set by "index"; in batches without, by the place
    that Lightning's own sampler gave it, for example 000012. What stands in for an unreadable photograph
    ("unreadable"), and what a sampler repeats, is not written. Pixels that are NaN or infinite become black. Raises
    TypeError at the start where the module keeps no pictures.
    """

    def __init__(
        self,
        folder: Path,
        sets: Sequence[str] = (),
        keep: int = 100,
        methods: Sequence[str] = METHODS,
        sources: Mapping[str, str] = SOURCES,
    ) -> None:
        """
        Args:
            folder: that the layout is below; made where it is absent.
            sets: names of the test loaders, in their order; numbers without.
            keep: pictures of each set whose sources, and whose place in a grid, are written, too.
            methods: labels in the module's `shown` to be written.
            sources: what to keep of a batch: folder -> key of the batch, (B, 3, H, W) in [0, 1].
        """
        self.folder, self.sets, self.keep, self.methods, self.sources = folder, sets, keep, methods, sources
        self.written: list[Path] = []
        """The grids, on the first process."""
        self._answers: dict[str, dict[int, dict[str, str | None]]] = {}
        self._places = Places()

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Refuse a module that will never have anything to keep; agree on the folder of the first process."""
        require(self, pl_module, ShowsPictures)
        self.folder = trainer.strategy.broadcast(self.folder)

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """A test begins anew."""
        self.written, self._answers = [], {}
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
        """Write the pictures of a batch."""
        assert isinstance(pl_module, ShowsPictures)
        count = len(next(iter(pl_module.shown.values()), ()))
        found = self._places.of(trainer, "test", dataloader_idx, batch, count)
        if not count:
            return
        name, places = set_name(self.sets, dataloader_idx), [-1 if place is None else place for place in found]
        names = column(batch, "name", count) or [f"{place:06d}" for place in places]
        images = [str(image).replace("/", "_") for image in names]
        bad = column(batch, "unreadable", count) or [""] * count
        good = [row for row in range(count) if places[row] >= 0 and not bad[row]]
        for method in self.methods:
            if method in pl_module.shown:
                self._write(name, method, {images[row]: pl_module.shown[method][row] for row in good})
        for folder, key in self.sources.items():
            if isinstance(batch, Mapping) and key in batch:
                kept = [row for row in good if places[row] < self.keep]
                self._write(name, folder, {images[row]: batch[key][row] for row in kept})
        if isinstance(pl_module, ShowsAnswers) and len(pl_module.answers) == count:
            self._answers.setdefault(name, {}).update({places[row]: dict(pl_module.answers[row]) for row in good})
        if trainer.is_global_zero and places[0] < self.keep:
            self.folder.mkdir(parents=True, exist_ok=True)
            grid = self.folder / f"{name}_{batch_idx}.png"
            write_png(grid, labelled_grid(blackened(pl_module.shown)))
            self.written.append(grid)

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write what all processes were answered, each picture once."""
        parts: list[Any] = [self._answers]
        if trainer.world_size > 1:
            parts = [None] * trainer.world_size
            torch.distributed.all_gather_object(parts, self._answers)
        if not trainer.is_global_zero:
            return
        for name in sorted({name for part in parts for name in part}):
            rows = {place: row for part in parts for place, row in part.get(name, {}).items()}
            lines = [json.dumps(rows[place], ensure_ascii=False) for place in sorted(rows)]
            (self.folder / name).mkdir(parents=True, exist_ok=True)
            write_whole(self.folder / name / "answers.jsonl", "".join(f"{line}\n" for line in lines), "replace")

    def _write(self, name: str, method: str, pictures: Mapping[str, torch.Tensor]) -> None:
        folder = self.folder / name / method
        if pictures:
            folder.mkdir(parents=True, exist_ok=True)
        for image, picture_3HW in pictures.items():
            if not torch.isfinite(picture_3HW).all():
                log.warning("%s, %s: pixel values that are NaN or infinite are kept as black", image, method)
            write_png(folder / f"{image}.png", black(picture_3HW.detach().float()))
