"""The end of a training before its last step: when its time is over, or another callback asks for it.

Knows the time of all launches of a run, and Lightning's `should_stop`. Knows nothing of why others set that.
"""

import logging
from typing import Any

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Timer

log = logging.getLogger(__name__)


class Ending(Timer):
    """Ends a training after the step in which `max_time` is over, and remembers in checkpoints that it is to end.

    Lightning forgets the latter: a training that was asked to end, and killed before it was tested, would go on.
    Before `min_steps` of the Trainer no training ends.
    """

    def __init__(self, max_time: str = "") -> None:
        """`max_time`: DD:HH:MM:SS of all launches together; empty: no limit."""
        super().__init__(duration=max_time or None, interval="step", verbose=False)
        self._asked = False
        self._trainer: Trainer | None = None

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Keep the trainer, which says whether it is to end."""
        self._trainer = trainer

    def state_dict(self) -> dict[str, Any]:
        """The time so far, and whether the training is to end."""
        asked = self._trainer is not None and bool(self._trainer.should_stop)
        return {**super().state_dict(), "should_stop": asked}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue the clock."""
        super().load_state_dict(state_dict)
        self._asked = bool(state_dict["should_stop"])

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock; a training whose time was over, or that was asked to end, takes no further step."""
        super().on_train_start(trainer, pl_module)
        trainer.should_stop = trainer.should_stop or self._asked
        if self._duration is not None:
            self._check_time_remaining(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop the clock; say why there are fewer steps than asked for."""
        super().on_train_end(trainer, pl_module)
        if trainer.should_stop and trainer.global_step < trainer.max_steps and trainer.is_global_zero:
            over = self._duration is not None and self.time_elapsed() >= self._duration
            why = "trainer.max_time is over" if over else "a callback asked for it"
            log.info("training ends after step %d of %d: %s", trainer.global_step, trainer.max_steps, why)
