"""What ends a training is told in a line: a process that died or hangs, a data worker that was killed.

Knows Lightning's hooks and how errors of torch look. How processes know of each other is in
`lit/distributed/liveness.py`.
"""

import logging
import os
import subprocess
import threading
import time
from typing import Any

from lightning import Callback, LightningModule, Trainer
from torch import Tensor, distributed
from torch._C import _error_if_any_worker_fails
from torch.optim import Optimizer

from lit_pure.lit.distributed.liveness import GRACE, TICK, Hub, Member, Verdict
from lit_pure.runs.stop import GOES_ON, LOST_WORKER, Stopped

log = logging.getLogger(__name__)

LOCAL = "127.0.0.1"


class Heartbeat(Callback):
    """Ends all processes when one is lost, and says which one and where it was; names a data worker that was killed.

    Raises ValueError in place of torch's error; of several processes that are left the first one, the others end with
    it. A process that cannot be reached, because it hangs or waits in C++ for one that does, is ended with status 1.
    Comes last of all callbacks.
    """

    def __init__(self, timeout: float, grace: float = 10.0) -> None:
        """
        Args:
            timeout: longest time in which no process comes to another place, such as the next step [s].
            grace: how long a process may take to end by itself [s].
        """
        self.timeout, self.grace = timeout, grace
        self._end: Hub | Member | None = None
        self._children: list[subprocess.Popen[bytes]] = []
        self._rank, self._step = 0, 0
        self._last: threading.Timer | None = None

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Connect the processes."""
        self._rank, self._last = trainer.global_rank, None
        if trainer.world_size == 1 or not distributed.is_initialized():
            return
        # Lightning would kill this process before it could say why.
        started = getattr(trainer.strategy.launcher, "procs", [])
        self._children += started
        started.clear()
        alone = trainer.num_nodes == 1
        hub = None if self._rank else Hub(LOCAL if alone else "", trainer.world_size, self.timeout, self._taken)
        port, key = trainer.strategy.broadcast((hub.port, hub.key) if hub else (0, ""))
        self._end = hub
        if hub is None:
            try:
                self._end = Member((LOCAL if alone else _first_machine(trainer), port), key, self._rank, self._taken)
            except OSError as error:
                log.warning("process %d is not watched: the first one cannot be reached (%s)", self._rank, error)

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """There is a batch."""
        self._note(trainer, "in the forward pass")

    def on_before_backward(self, trainer: Trainer, pl_module: LightningModule, loss: Tensor) -> None:
        """There is a loss."""
        self._note(trainer, "in the backward pass")

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer) -> None:
        """There are gradients."""
        self._note(trainer, "in the optimizer's step")

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """The batch is done."""
        self._note(trainer, "before the next batch")

    def on_validation_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """There is a batch."""
        self._note(trainer, "in the validation")

    def on_test_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """There is a batch."""
        self._note(trainer, "in the test")

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """What comes is not watched."""
        self._leave()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Say what it was. Raises in place of the error, so that Lightning takes nothing down that waits for others."""
        end, where = self._end, f"after step {trainer.global_step}"
        if isinstance(exception, Stopped):
            self._leave()
            return
        worker = _worker(exception)
        message = f"{worker} ({where}); {GOES_ON}" if worker else ""
        verdict = None
        if end is not None:
            if _of_another(exception):
                end.stick()
                verdict = end.verdict(2 * GRACE + TICK)
            else:
                end.fail(worker or f"{type(exception).__name__}: {exception}".splitlines()[0])
                end.verdict(2 * TICK)  # the others hear of it before this process is gone
            if self._last:
                self._last.cancel()
        if not message and verdict is None:
            return
        for logger in trainer.loggers:
            logger.finalize("failed")
        self._end_children()
        if verdict is None:
            raise ValueError(message) from exception
        if verdict.teller != self._rank:
            raise Stopped(status=1) from exception
        raise ValueError(f"{verdict.reason}; {GOES_ON}") from exception

    def _note(self, trainer: Trainer, where: str) -> None:
        if self._end is not None:
            self._end.note(f"after step {trainer.global_step}, {where}")

    def _leave(self) -> None:
        if self._end is not None:
            self._end.leave()
        self._end = None

    def _taken(self, verdict: Verdict) -> None:
        """Comes from another thread: the main one has a while to notice."""
        self._last = threading.Timer(self.grace, self._give_up, (verdict,))
        self._last.daemon = True
        self._last.start()

    def _give_up(self, verdict: Verdict) -> None:
        if verdict.teller == self._rank:
            log.error("error: %s; %s", verdict.reason, GOES_ON)
        for child in self._children:
            child.kill()
        os._exit(1)

    def _end_children(self) -> None:
        """They have the verdict, too; who does not end by itself is ended."""
        for child in self._children:
            try:
                child.wait(self.grace + TICK)
            except subprocess.TimeoutExpired:
                child.kill()


def _first_machine(trainer: Trainer) -> str:
    environment = trainer.strategy.cluster_environment  # type: ignore[attr-defined]
    return str(environment.main_address)


def _worker(exception: BaseException) -> str:
    """What torch says where a data worker is lost; "" for anything else."""
    if isinstance(exception, ConnectionError | EOFError):  # the pipe may tell it before the system does
        exception = next(filter(None, map(_lost_worker, range(10))), exception)
    text = str(exception).splitlines()[0].strip(" .") if isinstance(exception, RuntimeError) and str(exception) else ""
    return text if text.startswith(LOST_WORKER) else ""


def _lost_worker(again: int) -> RuntimeError | None:
    """A worker of this process that is no more; waits a moment for it."""
    try:
        _error_if_any_worker_fails()
    except RuntimeError as error:
        return error
    time.sleep(TICK / 10)
    return None


def _of_another(exception: BaseException) -> bool:
    """Whether an error comes from another process being lost."""
    text = str(exception).lower()
    lost = isinstance(exception, distributed.DistError) or "gloo" in text or "nccl" in text
    return isinstance(exception, RuntimeError) and lost
