"""The files of a test: each picture, the answers of the model, and grids to look at.

Knows the layout below `images/`, and what modules keep (`protocols.py`). Knows nothing of how pictures are made.

    <set>/<method>/<image>.png    the module's picture, for all images; written by the process that made it
    <set>/lq, hq/<image>.png      LQ picture and ground truth of the first images of a set
    <set>/answers.jsonl           one line per image, in the order of the set
    <set>_<batch>.png             all of them side by side, for the batches that begin among the first images
"""

import json
import logging
from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer

from lit_pure.baselines.table import BASELINES
from lit_pure.files.atomic import write_whole
from lit_pure.images.grid import labelled_grid
from lit_pure.images.io import write_png
from lit_pure.images.labels import BICUBIC, RECONSTRUCTED, RESTORED
from lit_pure.lit.callbacks.batch_index import BatchIndex, column
from lit_pure.lit.callbacks.board import blacken, blacken_all, set_name
from lit_pure.lit.callbacks.protocols import ShowsAnswers, ShowsPictures, require
from lit_pure.lit.distributed.processes import gather_objects

log = logging.getLogger(__name__)

METHODS = (RESTORED, RECONSTRUCTED, *(name for name in BASELINES if name != BICUBIC))
"""Labels of pictures that a model makes, ours or another one; what bicubic makes is made again in no time."""
SOURCES = {"lq": "lq_B3hw", "hq": "hq_B3HW"}
"""Folder -> key of the batch, for our batches."""


class SavePictures(Callback):
    """Writes the pictures and answers of a test to files; existing files of the same name are replaced.

    The batch's "name" names a picture, and its "index" gives its position in the set. In batches without these, the
    position that Lightning's own sampler gave it does both, for example 000012. Replacements of unreadable photographs
    ("unreadable"), and samples that a sampler repeats, are not written. NaN and infinite pixels become black. Raises
    TypeError at the start if the module keeps no pictures.
    """

    def __init__(
        self,
        folder: str | PathLike[str],
        sets: Sequence[str] = (),
        keep: int = 100,
        methods: Sequence[str] = METHODS,
        sources: Mapping[str, str] = SOURCES,
    ) -> None:
        """
        Args:
            folder: above the layout; made if it is missing.
            sets: names of the test loaders, in their order; without them, numbers.
            keep: how many pictures of each set also have their sources written, and appear in grids.
            methods: labels in the module's `shown` to write.
            sources: what to write of a batch: folder -> key of the batch, (B, 3, H, W) in [0, 1].
        """
        self.folder, self.sets, self.keep, self.methods, self.sources = Path(folder), sets, keep, methods, sources
        self.written: list[Path] = []
        """The grids, on the first process."""
        self._answers: dict[str, dict[int, dict[str, str | None]]] = {}
        self._index = BatchIndex()

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Refuse a module that keeps no pictures; take the folder of the first process."""
        require(self, pl_module, ShowsPictures)
        self.folder = trainer.strategy.broadcast(self.folder)

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """A test starts."""
        self.written, self._answers = [], {}
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
        """Write the pictures of a batch."""
        assert isinstance(pl_module, ShowsPictures)
        count = len(next(iter(pl_module.shown.values()), ()))
        found = self._index.sample_indices(trainer, "test", dataloader_idx, batch, count)
        if not count:
            return
        name, indices = set_name(self.sets, dataloader_idx), [-1 if index is None else index for index in found]
        names = column(batch, "name", count) or [f"{index:06d}" for index in indices]
        images = [str(image).replace("/", "_") for image in names]
        bad = column(batch, "unreadable", count) or [""] * count
        good = [row for row in range(count) if indices[row] >= 0 and not bad[row]]
        for method in self.methods:
            if method in pl_module.shown:
                self._write(name, method, {images[row]: pl_module.shown[method][row] for row in good})
        for folder, key in self.sources.items():
            if isinstance(batch, Mapping) and key in batch:
                kept = [row for row in good if indices[row] < self.keep]
                self._write(name, folder, {images[row]: batch[key][row] for row in kept})
        if isinstance(pl_module, ShowsAnswers) and len(pl_module.answers) == count:
            self._answers.setdefault(name, {}).update({indices[row]: dict(pl_module.answers[row]) for row in good})
        if trainer.is_global_zero and indices[0] < self.keep:
            self.folder.mkdir(parents=True, exist_ok=True)
            grid = self.folder / f"{name}_{batch_idx}.png"
            write_png(grid, labelled_grid(blacken_all(pl_module.shown)))
            self.written.append(grid)

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the answers of all processes, each picture once."""
        parts = gather_objects(self._answers)
        if not trainer.is_global_zero:
            return
        for name in sorted({name for part in parts for name in part}):
            rows = {index: row for part in parts for index, row in part.get(name, {}).items()}
            lines = [json.dumps(rows[index], ensure_ascii=False) for index in sorted(rows)]
            (self.folder / name).mkdir(parents=True, exist_ok=True)
            # Surrogates, from names that are not UTF-8, become JSON's escapes.
            text = "".join(f"{line}\n" for line in lines)
            write_whole(self.folder / name / "answers.jsonl", text, "backslashreplace")

    def _write(self, name: str, method: str, pictures: Mapping[str, torch.Tensor]) -> None:
        folder = self.folder / name / method
        if pictures:
            folder.mkdir(parents=True, exist_ok=True)
        for image, picture_3HW in pictures.items():
            if not torch.isfinite(picture_3HW).all():
                log.warning("%s, %s: NaN and infinite pixel values are written as black", image, method)
            write_png(folder / f"{image}.png", blacken(picture_3HW.detach().float()))
