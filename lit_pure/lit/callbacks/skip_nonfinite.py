"""Steps whose loss or gradient is not finite: left out by all processes together, and written down.

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
from torch import Tensor, distributed
from torch.distributed.tensor import DTensor
from torch.nn.utils import get_total_norm
from torch.optim import Optimizer

from lit_pure.files.atomic import write_whole
from lit_pure.lit.distributed.strategies import Folders
from lit_pure.runs import checkpoints
from lit_pure.runs.stop import Stopped

log = logging.getLogger(__name__)

FILE = "skipped_steps.jsonl"
"""In the run folder: a line per step that was left out."""
NAMED = 5
"""Images named on the terminal."""


class Guard(Callback):
    """Leaves out a step where a loss or a gradient of any process is NaN or infinite.

    Parameters and what the optimizer knows of them stay as they were; the step counts, and the schedule goes on. Each
    such step has a line in `skipped_steps.jsonl`: how many steps were finished before, the processes in which something
    was not finite, and for each process the names ("name" of the batch, where it is a mapping) and losses of the step.

    Raises ValueError after `limit` such steps in a row, resumed trainings included; of several processes the first one,
    the others end with it.
    """

    def __init__(self, folder: Path, limit: int) -> None:
        """
        Args:
            folder: of the run.
            limit: steps in a row that may be left out.
        """
        self.folder, self.limit = folder, limit
        self.skipped = False
        """Whether the newest optimizer step was left out."""
        self.in_a_row = 0
        """Steps up to now that were left out, without one in between that was not."""
        self._losses: list[Tensor] = []
        self._names: list[str] = []

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint holds."""
        return {"in_a_row": self.in_a_row}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on counting."""
        self.in_a_row = int(state_dict["in_a_row"])

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Steps that are taken again are written down again."""
        self._losses, self._names = [], []
        path = self.folder / FILE
        if trainer.is_global_zero and path.exists():
            lines = path.read_text(encoding="utf-8").splitlines()
            write_whole(path, "".join(f"{line}\n" for line in lines if _before(line, trainer.global_step)))

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Note what is in the batch."""
        names = batch.get("name", ()) if isinstance(batch, Mapping) else ()
        self._names += [str(name) for name in names]

    def on_before_backward(self, trainer: Trainer, pl_module: LightningModule, loss: Tensor) -> None:
        """Keep the loss on its device: reading it would make the processor wait."""
        self._losses.append(loss.detach())

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer) -> None:
        """Decide, all processes together; comes before clipping."""
        assert isinstance(trainer.strategy, Folders), "Checkpointing needs one of these, too"
        parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        bad = not _finite(self._losses, parameters)
        self.skipped = bool(trainer.strategy.agree(bad, "max"))
        losses_M, names, self._losses, self._names = self._losses, self._names, [], []
        if not self.skipped:
            self.in_a_row = 0
            return
        for parameter in parameters:
            parameter.grad = None  # an optimizer passes over it: no moment, no decay
        self.in_a_row += 1
        scale = trainer.accumulate_grad_batches / _scale(trainer)
        told = _gathered({"bad": bad, "images": names, "losses": [_told(float(loss) * scale) for loss in losses_M]})
        self._tell(trainer, told)

    def _tell(self, trainer: Trainer, told: list[dict[str, Any]]) -> None:
        """Write the step down; stop where it is one too many."""
        step = trainer.global_step
        # Gradients were summed already: where a loss is not finite, that is where it comes from.
        sources = [rank for rank, one in enumerate(told) if any(isinstance(loss, str) for loss in one["losses"])]
        ranks = sources or [rank for rank, one in enumerate(told) if one["bad"]]
        images = [name for rank in ranks for name in told[rank]["images"]]
        shown = ", ".join(images[:NAMED]) + (f" and {len(images) - NAMED} more" if len(images) > NAMED else "")
        of = f" of process {', '.join(map(str, ranks))}" if len(told) > 1 else ""
        if trainer.is_global_zero:
            self._write(
                {"step": step, "ranks": ranks, **{key: [one[key] for one in told] for key in ("images", "losses")}}
            )
            log.warning("the step after step %d is left out: loss or gradient%s is not finite (%s)", step, of, shown)
        if self.in_a_row < self.limit:
            return
        if not trainer.is_global_zero:
            raise Stopped(status=1)
        stands = checkpoints.newest(self.folder / checkpoints.FOLDER)
        raise ValueError(
            f"{self.in_a_row} steps in a row had a loss or gradient that is not finite, the last one with {shown}; "
            f"{self.folder / FILE} has all; {f'{stands.folder.name} stands' if stands else 'there is no checkpoint'}: "
            "lower optim.lr or trainer.gradient_clip, take precision bf16-mixed or 32-true, or look at the images"
        )

    def _write(self, line: dict[str, Any]) -> None:
        try:
            with (self.folder / FILE).open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
        except OSError as error:
            log.warning("%s: %s; training goes on", error.filename or FILE, error.strerror)


def _finite(losses: Iterable[Tensor], parameters: Iterable[Tensor]) -> bool:
    """Whether the losses and the pieces of the gradients that are here are; waits for the device once."""
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    pieces = [piece.to_local() if isinstance(piece, DTensor) else piece for piece in gradients]
    # Of all ways to look at each number the quickest. A norm that overflows is as bad: clipping divides by it.
    norm = get_total_norm([piece for piece in pieces if piece.numel()])
    return bool(torch.stack([*(loss.to(norm) for loss in losses), norm]).isfinite().all())


def _scale(trainer: Trainer) -> float:
    """What losses are multiplied by in half precision, so that small gradients are not lost."""
    scaler = getattr(trainer.precision_plugin, "scaler", None)
    return float(scaler.get_scale()) if scaler is not None else 1.0


def _gathered(mine: dict[str, Any]) -> list[dict[str, Any]]:
    """What each process has to tell."""
    if not distributed.is_initialized():
        return [mine]
    told = [mine] * distributed.get_world_size()
    distributed.all_gather_object(told, mine)
    return told


def _told(loss: float) -> float | str:
    """JSON has no word for NaN."""
    return loss if torch.isfinite(torch.tensor(loss)) else str(loss)


def _before(line: str, step: int) -> bool:
    try:
        return bool(json.loads(line)["step"] < step)
    except (ValueError, KeyError, TypeError):  # half a line, of a full disk
        return False
