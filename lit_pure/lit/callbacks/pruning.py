"""Ends the training of a trial that its search gives up.

Knows Lightning's hooks, and that somebody answers whether a validation is worth going on. Knows nothing of searches
(`search/reporting.py`).
"""

from pathlib import Path
from typing import Protocol

from lightning import Callback, LightningModule, Trainer

from lit_pure.files.atomic import write_json
from lit_pure.lit.callbacks.signals import SavesNow
from lit_pure.lit.distributed.strategies import FolderCheckpoints
from lit_pure.runs.stop import Stopped


class Judge(Protocol):
    """What a trial is compared with."""

    @property
    def metric(self) -> str: ...

    def worse(self, step: int, value: float) -> bool: ...

    def prune(self, step: int) -> None: ...


class Pruning(Callback):
    """After a validation, asks whether the training goes on; if not, it saves, leaves a mark, and ends the process.

    The first process asks, and all end together, with status 0. The last validation is only reported: what is left is
    the test. The run has no summary, so it is not finished; trained on by hand, it goes on from its checkpoint. It must
    come after the callback that saves.
    """

    def __init__(self, judge: Judge, checkpointing: SavesNow, mark: Path) -> None:
        """
        Args:
            judge: answers.
            checkpointing: saves.
            mark: the JSON file that labels the run as pruned.
        """
        self.judge, self.checkpointing, self.mark = judge, checkpointing, mark

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Report, and end if that is the answer. Raises Stopped, or ValueError where the metric is not validated."""
        if trainer.state.fn != "fit" or trainer.sanity_checking:
            return
        if (logged := trainer.callback_metrics.get(self.judge.metric)) is None:
            known = ", ".join(sorted(name for name in trainer.callback_metrics if name.startswith("val/")))
            raise ValueError(f"no validation has {self.judge.metric}, by which trials are pruned; there are {known}")
        step, value = trainer.global_step, float(logged)
        worse = self.judge.worse(step, value) if trainer.is_global_zero else False
        assert isinstance(trainer.strategy, FolderCheckpoints), "it is agreed by one of these"
        if trainer.strategy.agree(float(worse), "max") and step < trainer.max_steps:
            self._end(trainer, step, value)

    def _end(self, trainer: Trainer, step: int, value: float) -> None:
        self.checkpointing.save_now(trainer)
        if trainer.is_global_zero:
            self.judge.prune(step)
            write_json(self.mark, {"step": step, "metric": self.judge.metric, "value": value})
        # As when a signal stops a training (`signals.py`).
        trainer.strategy.barrier("pruned")
        getattr(trainer.strategy.launcher, "procs", []).clear()
        message = (
            f"pruned after step {step}: {self.judge.metric} {value:.6g} is worse than the median of earlier trials"
        )
        raise Stopped(message if trainer.is_global_zero else "", status=0)
