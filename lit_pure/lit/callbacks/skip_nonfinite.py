"""Skips steps whose loss or gradient is not finite, on all processes together, and records them.

Knows Lightning's hooks and the names in a batch. Knows nothing of models.

Shape legend: M batches of an optimizer step.
"""

import json
import logging
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer
from torch import Tensor
from torch.distributed.tensor import DTensor
from torch.nn.utils import get_total_norm
from torch.optim import Optimizer

from lit_pure.files.atomic import write_whole
from lit_pure.files.reading import BROKEN
from lit_pure.lit.distributed.processes import gather_objects
from lit_pure.lit.distributed.strategies import FolderCheckpoints
from lit_pure.runs import checkpoints
from lit_pure.runs.stop import Stopped

log = logging.getLogger(__name__)

FILE = "skipped_steps.jsonl"
"""In the run folder: a line per skipped step."""
NAMED = 5
"""How many images a message names."""


class SkipNonFinite(Callback):
    """Skips a step if a loss or a gradient of any process is NaN or infinite.

    Parameters and optimizer states stay as they are; the step counts, and the schedule continues. Each skipped step has
    a line in `skipped_steps.jsonl`: the number of steps before it, the processes in which something was not finite, and
    for each process the names ("name" of the batch, if it is a mapping) and losses of the step.

    Raises ValueError after `limit` skipped steps in a row, also across a resume. Of several processes the first one
    raises it, and the others end with it.
    """

    state_key = "Guard"
    """Its name in checkpoints, which are older than the name of the class."""

    def __init__(self, folder: Path, limit: int) -> None:
        """
        Args:
            folder: of the run.
            limit: steps in a row that may be skipped.
        """
        self.folder, self.limit = folder, limit
        self.skipped = False
        """Whether the last optimizer step was skipped."""
        self.in_a_row = 0
        """How many of the last steps were skipped in a row."""
        self._losses: list[Tensor] = []
        self._names: list[str] = []
        self._decided = -1
        """The finished steps before the one that was decided last."""

    def state_dict(self) -> dict[str, Any]:
        """The number of skipped steps in a row."""
        return {"in_a_row": self.in_a_row}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue counting."""
        self.in_a_row = int(state_dict["in_a_row"])

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Remove the records of steps that are repeated."""
        self._losses, self._names, self._decided = [], [], -1
        path = self.folder / FILE
        if trainer.is_global_zero and path.exists():
            lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
            write_whole(path, "".join(f"{line}\n" for line in lines if _before(line, trainer.global_step)))

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Note the names in the batch."""
        names = batch.get("name", ()) if isinstance(batch, Mapping) else ()
        self._names += [str(name) for name in names]

    def on_before_backward(self, trainer: Trainer, pl_module: LightningModule, loss: Tensor) -> None:
        """Keep the loss on its device: reading it would make the host wait."""
        self._losses.append(loss.detach())

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer) -> None:
        """Decide, all processes together; before gradients are clipped. Two optimizers of a step share the decision."""
        assert isinstance(trainer.strategy, FolderCheckpoints), "Checkpointing needs one of these, too"
        if self._decided == trainer.global_step:
            return
        self._decided = trainer.global_step
        parameters = [parameter for parameter in pl_module.parameters() if parameter.requires_grad]
        bad = not _finite(self._losses, parameters)
        self.skipped = bool(trainer.strategy.agree(bad, "max"))
        losses_M, names, self._losses, self._names = self._losses, self._names, [], []
        if not self.skipped:
            self.in_a_row = 0
            return
        for parameter in parameters:
            parameter.grad = None  # the optimizer ignores it: no moment, no decay
        self.in_a_row += 1
        scale = trainer.accumulate_grad_batches / _scale(trainer)
        losses = [_as_json(float(loss) * scale) for loss in losses_M]
        self._record(trainer, gather_objects({"bad": bad, "images": names, "losses": losses}))

    def _record(self, trainer: Trainer, reports: list[dict[str, Any]]) -> None:
        """Record the step from the reports of all processes; raise if there are too many in a row."""
        step = trainer.global_step
        # Gradients are summed over processes already: a loss that is not finite shows which process it was.
        sources = [rank for rank, one in enumerate(reports) if any(isinstance(loss, str) for loss in one["losses"])]
        ranks = sources or [rank for rank, one in enumerate(reports) if one["bad"]]
        images = [name for rank in ranks for name in reports[rank]["images"]]
        shown = ", ".join(images[:NAMED]) + (f" and {len(images) - NAMED} more" if len(images) > NAMED else "")
        of = f" of process {', '.join(map(str, ranks))}" if len(reports) > 1 else ""
        if trainer.is_global_zero:
            self._write(
                {"step": step, "ranks": ranks, **{key: [one[key] for one in reports] for key in ("images", "losses")}}
            )
            log.warning("the step after step %d is skipped: loss or gradient%s is not finite (%s)", step, of, shown)
        if self.in_a_row < self.limit:
            return
        if not trainer.is_global_zero:
            raise Stopped(status=1)
        newest = checkpoints.newest(self.folder / checkpoints.FOLDER)
        raise ValueError(
            f"{self.in_a_row} steps in a row had a loss or gradient that is not finite, the last one with {shown}; "
            f"{self.folder / FILE} has all; {f'{newest.folder.name} is kept' if newest else 'there is no checkpoint'}: "
            "lower optim.lr or trainer.gradient_clip, take precision bf16-mixed or 32-true, or look at the images"
        )

    def _write(self, line: dict[str, Any]) -> None:
        try:
            with (self.folder / FILE).open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
        except OSError as error:
            log.warning("%s: %s; training continues", error.filename or FILE, error.strerror)


def _finite(losses: Iterable[Tensor], parameters: Iterable[Tensor]) -> bool:
    """Whether the losses and this process's shards of the gradients are finite; waits for the device once."""
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    shards = [shard.to_local() if isinstance(shard, DTensor) else shard for shard in gradients]
    # The fastest way to check each number. A norm that overflows is as bad: clipping divides by it.
    norm = get_total_norm([shard for shard in shards if shard.numel()])
    return bool(torch.stack([*(loss.to(norm) for loss in losses), norm]).isfinite().all())


def _scale(trainer: Trainer) -> float:
    """The factor of losses in half precision, which keeps small gradients from underflowing."""
    scaler = getattr(trainer.precision_plugin, "scaler", None)
    return float(scaler.get_scale()) if scaler is not None else 1.0


def _as_json(loss: float) -> float | str:
    """A loss, as a string if it is not finite: JSON has no NaN."""
    return loss if torch.isfinite(torch.tensor(loss)) else str(loss)


def _before(line: str, step: int) -> bool:
    try:
        return bool(json.loads(line)["step"] < step)
    except BROKEN:  # half a line, written to a full disk
        return False
