"""The checkpoints of a run on disk: which are complete, which is the newest, which are removed.

Knows folders `step=00000015` and the mark `complete.json`, which is written last and names each file of the checkpoint
with its size. A folder without the mark, or with files of other sizes, was left by a killed process and is not a
checkpoint. Knows nothing of what the files hold, and imports no torch.
"""

import json
import math
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lit_pure.files.reading import BROKEN

FOLDER = "checkpoints"
"""The folder of checkpoints in a run folder."""
COMPLETE = "complete.json"
"""The mark: step, epoch, val/loss if known, number of processes, and the files with their sizes [byte]."""
SCORE = "val/loss"
"""The best checkpoint has the lowest."""
_PATTERN = "step=*"


@dataclass(frozen=True)
class Checkpoint:
    """A complete checkpoint."""

    folder: Path
    step: int
    """Finished optimizer steps."""
    score: float | None = None
    """The validation loss at this step; None without a validation, or if it is not finite."""


def path(folder: Path, step: int) -> Path:
    """The folder of a step's checkpoint, below a run's folder of checkpoints."""
    return folder / f"step={step:08d}"


def read(folder: Path) -> Checkpoint | None:
    """The checkpoint in a folder `step=...`; None if it is not complete."""
    try:
        mark = json.loads((folder / COMPLETE).read_text(encoding="utf-8"))
        whole = all((folder / name).stat().st_size == size for name, size in mark["files"].items())
        score = mark.get(SCORE)
        known = isinstance(score, float) and math.isfinite(score)
        return Checkpoint(folder, int(mark["step"]), score if known else None) if whole else None
    except BROKEN:  # the mark is missing or damaged
        return None


def complete(folder: Path) -> list[Checkpoint]:
    """All complete checkpoints below a run's folder of checkpoints, oldest first."""
    found = [checkpoint for each in folder.glob(_PATTERN) if (checkpoint := read(each))]
    return sorted(found, key=lambda checkpoint: checkpoint.step)


def newest(folder: Path) -> Checkpoint | None:
    """The complete checkpoint with the most steps."""
    return next(reversed(complete(folder)), None)


def clear_incomplete(folder: Path) -> list[Path]:
    """Remove what killed processes left below a folder of checkpoints; returns what was removed.

    No process may be writing there.
    """
    incomplete = [each for each in sorted(folder.glob(_PATTERN)) if each.is_dir() and read(each) is None]
    for each in incomplete:
        remove(each)
    return incomplete


def prune(folder: Path, keep_last: int, keep_best: int) -> list[Path]:
    """Remove complete checkpoints except the newest and those with the lowest scores; returns what was removed.

    Args:
        folder: a run's folder of checkpoints.
        keep_last: how many of the newest to keep, at least 1.
        keep_best: how many of those with a score to keep; of equal scores the newest.
    """
    found = complete(folder)
    kept = {*_newest(found, keep_last), *_best(found, keep_best)}
    removed = [checkpoint.folder for checkpoint in found if checkpoint not in kept]
    for each in removed:
        remove(each)
    return removed


def remove(folder: Path) -> None:
    """Remove a checkpoint, its mark first, so that a half-removed one is not complete. Raises OSError."""
    (folder / COMPLETE).unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)


def _newest(found: Sequence[Checkpoint], count: int) -> Sequence[Checkpoint]:
    assert count >= 1, "a run without any checkpoint cannot be resumed"
    return found[-count:]


def _best(found: Sequence[Checkpoint], count: int) -> Sequence[Checkpoint]:
    scored = [(checkpoint.score, -checkpoint.step, checkpoint) for checkpoint in found if checkpoint.score is not None]
    return [checkpoint for *_, checkpoint in sorted(scored, key=lambda row: row[:2])[:count]]
