"""The LightningModule of a family that restores pictures: its test, and what of it is shown. Any restorer will do.

Knows restorers by their contract. Knows no family, and no training: families that train inherit it. The restorer is no
submodule, so that optimizers, checkpoints and sharding never see what is frozen.

Shape legend: B batch, H W HQ [px], h w LQ [px] or cells.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from lightning import Callback
from torch import Tensor

from lit_pure.baselines.enlarge import enlarger_of
from lit_pure.config.experiment import Experiment, RestoringExperiment
from lit_pure.families.table import family_of
from lit_pure.images.checks import require_batch
from lit_pure.images.geometry import resize
from lit_pure.images.io import from_bytes
from lit_pure.images.labels import BICUBIC, GROUND_TRUTH, LQ, RESTORED
from lit_pure.lit.callbacks.metrics import RestorationMetrics
from lit_pure.lit.callbacks.pictures import EntropyMap, TextSamples
from lit_pure.lit.data import Batch, DegradeAndScore, Transform
from lit_pure.lit.run_module import RunModule
from lit_pure.lit.scores import Scores
from lit_pure.metrics.choice import choose_for_run
from lit_pure.restoring.contract import Restoration, SquareRestorer
from lit_pure.restoring.tiled import restore_photo
from lit_pure.runs.folder import Run

LQPictures = Tensor | Sequence[Tensor] | Batch
"""A batch to restore."""


def build(experiment: Experiment, needs: Mapping[str, Run]) -> tuple[RunModule, Transform]:
    """The module of an experiment that only samples from the weights of another run; LQ pictures get no labels."""
    assert isinstance(experiment, RestoringExperiment)
    if "weights" not in needs:
        raise ValueError(f"family {experiment.family} has no training; name a finished run in needs.weights")
    restorer = family_of(experiment).restorer(needs["weights"], experiment)
    return RestoringModule(experiment, restorer), DegradeAndScore(experiment.data.degradation, None)


class RestoringModule(RunModule):
    """Tests a restorer beside bicubic enlargement and other baselines."""

    def __init__(self, config: RestoringExperiment, restorer: SquareRestorer) -> None:
        super().__init__()
        self.config, self.restorer = config, restorer
        self.choice = choose_for_run(config)
        self.baselines = list(dict.fromkeys([BICUBIC, *config.evaluation.baselines]))
        self.scores: Scores = Scores(
            sorted(config.data.test), self.choice.metrics, [RESTORED, *self.baselines], self.choice.border
        )
        self.answers: list[dict[str, str | None]] = []
        self.entropy_Bhw, self.entropy_highest = torch.empty(0), 0.0

    def on_test_start(self) -> None:
        """Move the restorer to the device, and reset the scores."""
        self.restorer.to(self.device)
        self.scores.reset()

    def test_step(self, batch: Batch, batch_idx: int, dataloader_idx: int = 0) -> None:
        """Restored and baselines against the ground truth, where there is one, and decoding speed."""
        restored = self.restore_and_show(batch, len(batch["name"]), self.baselines)
        for method in self.scores.methods:
            self.scores.update(dataloader_idx, method, self.shown[method], batch)
        if tokens := sum(one.tokens for one in restored):
            key = f"test/{self.scores.sets[dataloader_idx]}/tokens_per_second"
            speed = tokens / sum(one.seconds for one in restored)
            self.log(key, speed, batch_size=len(restored), add_dataloader_idx=False, sync_dist=True)

    def on_test_epoch_end(self) -> None:
        """Log the means, which are the same on all processes; averaging them over these changes nothing."""
        self.log_dict(self.scores.compute(), sync_dist=True)

    def on_predict_start(self) -> None:
        """As for a test."""
        self.on_test_start()

    def on_predict_end(self) -> None:
        """Nothing is left to do; families that gather their network for decoding let it go."""

    def predict_step(self, batch: LQPictures, batch_idx: int, dataloader_idx: int = 0) -> Tensor:
        """Restored pictures (B, 3, H, W) in [0, 1], on the CPU, of a batch of LQ pictures.

        Args:
            batch: (B, 3, h, w) in [0, 1], of any size; alone, first in a list or tuple, or as `lq_B3hw` of a batch of
                `PhotoDataModule`. Sides become `restorer.scale` times as long.
            batch_idx: its number, which names the pictures, and so decides what is drawn, where they have no names.
            dataloader_idx: likewise.

        Raises ValueError where there are no such pictures.
        """
        lq_B3hw, names = _pictures(batch, f"{dataloader_idx}/{batch_idx}")
        if tuple(lq_B3hw.shape[-2:]) == (self.restorer.size // self.restorer.scale,) * 2:
            return torch.stack([one.image_3HW.cpu() for one in self.restorer.restore(lq_B3hw, names)])
        photos = [restore_photo(self.restorer, lq_3hw, name) for lq_3hw, name in zip(lq_B3hw, names, strict=True)]
        return torch.stack([from_bytes(photo.pixels_3HW) for photo in photos])

    def save_weights(self, folder: Path, writes: bool) -> None:
        """Nothing was trained."""

    def picture_callbacks(self, sets: list[str], keep: int) -> list[Callback]:
        """Pictures, and what the family has of maps and words; metrics of the pictures shown in validation."""
        family, scores = family_of(self.config), self.scores
        shown = super().picture_callbacks(sets, keep)
        shown += [EntropyMap(sets, keep=keep)] if "entropy" in family.maps else []
        shown += [TextSamples(sets, keep)]
        return [*shown, RestorationMetrics(scores.single, stages=["val"], border=scores.border, scorers=scores.scorers)]

    def summary_row(self) -> dict[str, Any]:
        return {"protocol": self.choice.protocol, "border": self.choice.border, "left_out": self.choice.left_out}

    def restore_and_show(self, batch: Batch, count: int, baselines: Sequence[str] = (BICUBIC,)) -> list[Restoration]:
        """Restore the first pictures of a batch and keep what the callbacks show, with these baselines."""
        lq_B3hw, names = batch["lq_B3hw"][:count], batch["name"][:count]
        restored = self.restorer.restore(lq_B3hw, names)
        size = self.restorer.size
        self.shown = {
            LQ: torch.nn.functional.interpolate(lq_B3hw, (size, size), mode="nearest"),
            **{name: self._enlarge(name, lq_B3hw) for name in baselines},
            RESTORED: torch.stack([one.image_3HW for one in restored]),
        }
        if "hq_B3HW" in batch:
            self.shown[GROUND_TRUTH] = batch["hq_B3HW"][:count]
        entropies = [one.maps["entropy"] for one in restored if "entropy" in one.maps]
        self.entropy_Bhw = torch.stack([one.values_hw for one in entropies]) if entropies else torch.empty(0)
        self.entropy_highest = max((one.highest or 0.0 for one in entropies), default=0.0)
        self.answers = [
            {"image": names[row], **self.answer(one, batch, row)} for row, one in enumerate(restored) if one.words
        ]
        return restored

    def _enlarge(self, name: str, lq_B3hw: Tensor) -> Tensor:
        """What a baseline makes of LQ pictures, in the size of the restored ones; a network works on the CPU."""
        size = self.restorer.size
        if name == BICUBIC:
            return resize(lq_B3hw, size, size)
        enlarger = enlarger_of(name)
        made_B3HW = torch.stack([enlarger.enlarge(lq_3hw, enlarger.scale) for lq_3hw in lq_B3hw])
        return resize(made_B3HW, size, size).to(lq_B3hw.device)

    def answer(self, restored: Restoration, batch: Batch, row: int) -> dict[str, str | None]:
        """The line of `answers.jsonl` for the picture in a row of a batch, besides its name."""
        return dict(restored.words)


def _pictures(batch: LQPictures, number: str) -> tuple[Tensor, list[str]]:
    """The LQ pictures of a batch, and their names, after its `number` where it has none. Raises ValueError."""
    if isinstance(batch, Mapping):
        lq_B3hw, names = batch.get("lq_B3hw"), batch.get("name")
    else:
        lq_B3hw, names = batch if isinstance(batch, Tensor) else batch[0], None
    require_batch(lq_B3hw, "LQ pictures")  # type: ignore[arg-type]  # it says what else was found
    assert lq_B3hw is not None
    return lq_B3hw, names or [f"{number}/{row}" for row in range(len(lq_B3hw))]
