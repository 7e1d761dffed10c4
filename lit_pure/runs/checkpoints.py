"""The checkpoints of a run, as they lie on disk: which are complete, which is the newest, which go.

Knows folders `step=00000015` and the mark `complete.json`, which is written last of all: it names each file of the
checkpoint with its size. A folder without the mark, or with files of other sizes, is what a killed process left; it is
no checkpoint. Knows nothing of what the files hold, and imports no torch.
"""

import json
import math
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

FOLDER = "checkpoints"
"""Where a run folder has them."""
COMPLETE = "complete.json"
"""The mark: step, epoch, val/loss where it is known, number of processes, and the files with their sizes [bytes]."""
SCORE = "val/loss"
"""What the best checkpoint has least of."""
_PATTERN = "step=*"


@dataclass(frozen=True)
class Checkpoint:
    """A complete one."""

    folder: Path
    step: int
    """Optimizer steps that are done."""
    score: float | None = None
    """Loss of the validation at this step; None where there was none, or it is not finite."""


def path(folder: Path, step: int) -> Path:
    """Where the checkpoint of a step is, below a run's folder of checkpoints."""
    return folder / f"step={step:08d}"


def read(folder: Path) -> Checkpoint | None:
    """The checkpoint in a folder `step=...`; None where it is not complete."""
    try:
        mark = json.loads((folder / COMPLETE).read_text(encoding="utf-8"))
        whole = all((folder / name).stat().st_size == size for name, size in mark["files"].items())
        score = mark.get(SCORE)
        known = isinstance(score, float) and math.isfinite(score)
        return Checkpoint(folder, int(mark["step"]), score if known else None) if whole else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):  # no mark, or half of one
        return None


def complete(folder: Path) -> list[Checkpoint]:
    """All complete checkpoints below a run's folder of checkpoints, oldest first."""
    found = [checkpoint for each in folder.glob(_PATTERN) if (checkpoint := read(each))]
    return sorted(found, key=lambda checkpoint: checkpoint.step)


def newest(folder: Path) -> Checkpoint | None:
    """The complete checkpoint with the most steps."""
    return next(reversed(complete(folder)), None)


def clear_incomplete(folder: Path) -> list[Path]:
    """Remove what killed processes left below a folder of checkpoints; gives what was removed.

    Nobody may be writing there.
    """
    left = [each for each in sorted(folder.glob(_PATTERN)) if each.is_dir() and read(each) is None]
    for each in left:
        remove(each)
    return left


def prune(folder: Path, keep_last: int, keep_best: int) -> list[Path]:
    """Remove complete checkpoints but the newest and those of the lowest score; gives what was removed.

    Args:
        folder: a run's folder of checkpoints.
        keep_last: newest that stay, at least 1.
        keep_best: of those with a score, how many stay; of equal ones the newest.
    """
    found = complete(folder)
    stay = {*_newest(found, keep_last), *_best(found, keep_best)}
    gone = [checkpoint.folder for checkpoint in found if checkpoint not in stay]
    for each in gone:
        remove(each)
    return gone


def remove(folder: Path) -> None:
    """Remove a checkpoint, its mark first: one that is half removed is not complete. Raises OSError."""
    (folder / COMPLETE).unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)


def _newest(found: Sequence[Checkpoint], count: int) -> Sequence[Checkpoint]:
    assert count >= 1, "a run without any checkpoint cannot go on"
    return found[-count:]


def _best(found: Sequence[Checkpoint], count: int) -> Sequence[Checkpoint]:
    scored = [(checkpoint.score, -checkpoint.step, checkpoint) for checkpoint in found if checkpoint.score is not None]
    return [checkpoint for *_, checkpoint in sorted(scored, key=lambda row: row[:2])[:count]]
