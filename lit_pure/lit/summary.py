"""The summary of a finished run.

Knows what the module and the callbacks of a run keep, and the keys that reports read. Knows nothing of how a run is
made (`build.py`).
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lightning import Trainer

from lit_pure.config.experiment import Experiment
from lit_pure.lit.data import PhotoDataModule
from lit_pure.lit.run_module import RunModule


def summary(
    experiment: Experiment,
    module: RunModule,
    data: PhotoDataModule,
    trainer: Trainer,
    training: Mapping[str, float | int],
    pictures: Sequence[Path],
    identity: Mapping[str, Any],
) -> dict[str, Any]:
    """One flat row: what `report` and the notebooks read. Only `metrics`, what the figures depend on, is a table.

    `identity` is what `metrics.files.identity` gave when the run began.
    """
    row: dict[str, Any] = {"name": experiment.name, "family": experiment.family, "base": experiment.base}
    row |= {"seed": experiment.seed, "parameters": _parameters(module)}
    row |= training
    measured = {key: float(value) for key, value in trainer.callback_metrics.items() if key.startswith("test/")}
    if speeds := [measured.pop(key) for key in list(measured) if key.endswith("/tokens_per_second")]:
        row["tokens_per_second"] = round(sum(speeds) / len(speeds), 1)
    if module.scores is not None:
        measured |= module.scores.means  # in all their digits; Lightning has them in float32
        row["metrics"] = {**identity, **module.summary_row()}
    row |= {key: value for key, value in sorted(measured.items()) if math.isfinite(value)}
    skipped = data.skipped()
    return row | {
        "skipped": len(skipped),
        "skipped_photos": skipped,
        "pictures": [str(path) for path in pictures],
    }


def _parameters(module: RunModule) -> int:
    """How many the module has; a byte of 4-bit weights holds two."""
    return sum(item.numel() * (1 if item.is_floating_point() else 2) for item in module.parameters())
