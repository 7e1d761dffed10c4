"""Reports in one line what ended a training: a process that died or hangs, or a data worker that was killed.

Knows Lightning's hooks and the errors of torch. `lit/distributed/liveness.py` finds out which process is lost.
"""

import logging
import os
import subprocess
import threading
import time
from collections.abc import Sequence
from typing import Any

from lightning import Callback, LightningModule, Trainer
from torch import Tensor, distributed
from torch._C import _error_if_any_worker_fails
from torch.optim import Optimizer

from lit_pure.files.sharing import shortage
from lit_pure.lit.distributed.liveness import GRACE, TICK, Failure, Hub, Member
from lit_pure.runs.stop import LOST_WORKER, RESUMES, Stopped

log = logging.getLogger(__name__)

LOCAL = "127.0.0.1"


class Watchdog(Callback):
    """Ends all processes when one is lost, and reports which one and where it was; also names a killed data worker.

    Raises ValueError in place of torch's error. Of several remaining processes the first one raises it, and the others
    end with it. A process that cannot react, because it hangs or waits in C++ for one that hangs, is ended with status
    1. It must be the last callback.
    """

    def __init__(self, timeout: float, grace: float = 10.0, then: str = RESUMES) -> None:
        """
        Args:
            timeout: longest time in which no process moves, for example to the next step [s].
            grace: time that a process gets to end by itself [s].
            then: what is kept, and how to resume.
        """
        self.timeout, self.grace, self.then = timeout, grace, then
        self._end: Hub | Member | None = None
        self._children: list[subprocess.Popen[bytes]] = []
        self._rank, self._step = 0, 0
        self._kill_timer: threading.Timer | None = None

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Connect the processes."""
        self._rank, self._kill_timer = trainer.global_rank, None
        if trainer.world_size == 1 or not distributed.is_initialized():
            return
        # Lightning would kill this process before it could report the reason.
        started = getattr(trainer.strategy.launcher, "procs", [])
        self._children += started
        started.clear()
        alone = trainer.num_nodes == 1
        hub = None if self._rank else Hub(LOCAL if alone else "", trainer.world_size, self.timeout, self._on_failure)
        port, key = trainer.strategy.broadcast((hub.port, hub.key) if hub else (0, b""))
        self._end = hub
        if hub is None:
            address = (LOCAL if alone else _first_machine(trainer), port)
            try:
                self._end = Member(address, key, self._rank, self._on_failure)
            except OSError as error:
                log.warning("process %d is not watched: the first one cannot be reached (%s)", self._rank, error)

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """The batch is ready."""
        self._note(trainer, "in the forward pass")

    def on_before_backward(self, trainer: Trainer, pl_module: LightningModule, loss: Tensor) -> None:
        """The loss is computed."""
        self._note(trainer, "in the backward pass")

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer) -> None:
        """The gradients are computed."""
        self._note(trainer, "in the optimizer's step")

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """The batch is done."""
        self._note(trainer, "before the next batch")

    def on_validation_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """The batch is ready."""
        self._note(trainer, "in the validation")

    def on_test_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """The batch is ready."""
        self._note(trainer, "in the test")

    def on_predict_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """The batch is ready."""
        self.require_others()
        if self._end is not None:
            self._end.note(f"in its batch {batch_idx + 1}")

    def require_others(self) -> None:
        """Raises an error of torch where another process is known to be lost."""
        if self._end is not None and (failure := self._end.wait_for_failure(0)) is not None:
            raise distributed.DistError(failure.reason)

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Stop watching."""
        self._leave()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Report the cause. Raises in place of the error: Lightning must not tear down what waits for others."""
        end, where = self._end, f"after step {trainer.global_step}"
        if isinstance(exception, Stopped):
            self._leave()
            return
        worker = _worker(exception) or shortage(exception)
        message = f"{worker} ({where}); {self.then}" if worker else ""
        failure = None
        if end is not None:
            if _is_of_another(exception):
                end.report_stuck()
                failure = end.wait_for_failure(2 * GRACE + TICK)
            else:
                end.report_failure(worker or f"{type(exception).__name__}: {exception}".splitlines()[0])
                end.wait_for_failure(2 * TICK)  # so that the others get the report before this process is gone
            if self._kill_timer:
                self._kill_timer.cancel()
        if not message and failure is None:
            return
        for logger in trainer.loggers:
            logger.finalize("failed")
        self._end_children()
        if failure is None:
            raise ValueError(message) from exception
        if failure.reporter != self._rank:
            raise Stopped(status=1) from exception
        raise ValueError(f"{failure.reason}; {self.then}") from exception

    def _note(self, trainer: Trainer, where: str) -> None:
        if self._end is not None:
            self._end.note(f"after step {trainer.global_step}, {where}")

    def _leave(self) -> None:
        if self._end is not None:
            self._end.leave()
        self._end = None

    def _on_failure(self, failure: Failure) -> None:
        """Called on another thread: the main one gets some time to notice."""
        self._kill_timer = threading.Timer(self.grace, self._exit, (failure,))
        self._kill_timer.daemon = True
        self._kill_timer.start()

    def _exit(self, failure: Failure) -> None:
        if failure.reporter == self._rank:
            log.error("error: %s; %s", failure.reason, self.then)
        for child in self._children:
            child.kill()
        os._exit(1)

    def stop_children(self, more: Sequence[subprocess.Popen[bytes]] = ()) -> None:
        """Ask the processes that this one has started, and `more` of them, to stop; kill those that do not."""
        self._children += more
        for child in self._children:
            child.terminate()
        self._end_children()

    def _end_children(self) -> None:
        """The child processes know of the failure, too; kill those that do not end by themselves."""
        for child in self._children:
            try:
                child.wait(self.grace + TICK)
            except subprocess.TimeoutExpired:
                child.kill()


def _first_machine(trainer: Trainer) -> str:
    environment = trainer.strategy.cluster_environment  # type: ignore[attr-defined]
    return str(environment.main_address)


def _worker(exception: BaseException) -> str:
    """Torch's message if a data worker is lost; "" for any other error."""
    if isinstance(exception, ConnectionError | EOFError):  # the pipe may break before the system reports the worker
        exception = next(filter(None, map(_lost_worker, range(10))), exception)
    text = str(exception).splitlines()[0].strip(" .") if isinstance(exception, RuntimeError) and str(exception) else ""
    return text if text.startswith(LOST_WORKER) else ""


def _lost_worker(attempt: int) -> RuntimeError | None:
    """Torch's error if a data worker of this process is lost; waits a moment if none is."""
    try:
        _error_if_any_worker_fails()
    except RuntimeError as error:
        return error
    time.sleep(TICK / 10)
    return None


def _is_of_another(exception: BaseException) -> bool:
    """Whether an error was caused by the loss of another process."""
    text = str(exception).lower()
    lost = isinstance(exception, distributed.DistError) or "gloo" in text or "nccl" in text
    return isinstance(exception, RuntimeError) and lost
