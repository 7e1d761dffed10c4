"""A training that is asked to stop: SIGTERM and SIGUSR1 save after the step that is under way, then the process ends.

Knows signals and Lightning's hooks. Knows nothing of what is saved, nor how.
"""

import logging
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from multiprocessing import parent_process
from types import FrameType
from typing import Any, Protocol

from lightning import Callback, LightningModule, Trainer

from lit_pure.lit.distributed.strategies import Folders
from lit_pure.runs.stop import REQUEUES, SIGNALS, STATUS, Stopped, requeue

log = logging.getLogger(__name__)

TOGETHER = 1.0
"""Signals within so many seconds are one [s]: SLURM signals all of a job, and torchrun hands on what it gets."""


class SavesNow(Protocol):
    """Writes a checkpoint that is complete when the call returns, on all processes together."""

    def save_now(self, trainer: Trainer) -> Any: ...


class Stopping(Callback):
    """Ends a training with `Stopped` (exit status 143) after the optimizer step in which any process got a signal.

    All processes stop after the same step, whichever of them got it. SIGUSR1 also puts a SLURM job back into its queue.
    A second signal ends the process at once; what was saved before stands. A validation that is under way comes to its
    end first. Outside training it does nothing but keep Lightning's own handling away, and a signal does what it did
    before there was a Trainer. Comes after all callbacks whose state a checkpoint holds.
    """

    def __init__(self, checkpointing: SavesNow, together: float = TOGETHER) -> None:
        """
        Args:
            checkpointing: what to save with.
            together: signals within so many seconds are one wish [s].
        """
        self.checkpointing, self.together = checkpointing, together
        self._listener: Listener | None = None
        self._children: list[subprocess.Popen[bytes]] = []
        self._signal, self._step, self._first = 0, 0, True
        self._heard: float | None = None

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Keep Lightning's own handling away.

        Its handler broadcasts, and so waits for processes that got no signal; its question before each batch swallows
        the error by which a process learns that another one died, and makes the processor wait for the device.
        """
        trainer._signal_connector.register_signal_handlers = _nothing  # type: ignore[method-assign]
        trainer.fit_loop.epoch_loop._broadcast_sigterm_tensor = _nothing  # type: ignore[method-assign]
        self._children = self._children or [*getattr(trainer.strategy.launcher, "procs", ())]

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Listen."""
        self._signal, self._heard = 0, None
        self._step, self._first = trainer.global_step, trainer.is_global_zero
        if threading.current_thread() is threading.main_thread():  # which alone may listen
            self._listener = Listener(self._note, self._hear)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Where a step is finished and any process got a signal: save, and end."""
        if trainer.global_step == self._step:  # in the middle of an accumulation
            return
        self._step = trainer.global_step
        assert isinstance(trainer.strategy, Folders), "Checkpointing needs one of these, too"
        if number := int(trainer.strategy.agree(self._signal, "max")):
            self._stop(trainer, signal.Signals(number).name)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """What comes now cannot be saved in the middle."""
        self._deaf()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """A process that is ending anyway is ended by the first signal."""
        self._deaf()

    def _stop(self, trainer: Trainer, name: str) -> None:
        self.checkpointing.save_now(trainer)
        if name == REQUEUES and trainer.is_global_zero:
            requeue()
        # Who starts processes ends all of them as soon as one has ended: nobody leaves before the first one is done.
        trainer.strategy.barrier("stopping")
        # Lightning looks after what it started, and would kill this process because they end by a status.
        getattr(trainer.strategy.launcher, "procs", []).clear()
        told = f"stopped by {name} after step {trainer.global_step}; saved; the same command goes on"
        raise Stopped(told if trainer.is_global_zero else "")

    def _note(self, number: int, frame: FrameType | None = None) -> None:
        """Comes from the main thread, before its next line of Python, or from the listener's."""
        self._signal = self._signal or number

    def _hear(self, number: int) -> None:
        """Comes from the listener's thread, whatever the main thread does."""
        name, now = signal.Signals(number).name, time.monotonic()
        if self._heard is None:
            self._heard = now
            self._note(number)
            log.info("%s: saving after this step; a second signal ends this process at once", name)
        elif now - self._heard >= self.together:
            if self._first:
                log.error("stopped at once by a second signal, %s; the last complete checkpoint stands", name)
            for child in self._children:
                child.kill()
            os._exit(STATUS)

    def _deaf(self) -> None:
        if self._listener is not None:
            self._listener.close()
        self._listener = None


class Listener:
    """Hears signals on a thread of its own, too.

    Handlers written in Python wait until the main thread comes out of C++, where it may wait for another process or a
    device for as long as half an hour. Made and closed by the main thread, on which `handler` is called; `heard` is
    called on the other one, sooner or later than that.
    """

    def __init__(self, handler: Callable[[int, FrameType | None], None], heard: Callable[[int], None]) -> None:
        self._inner, self._outer = socket.socketpair()
        self._outer.setblocking(False)
        self._before = {number: signal.signal(number, handler) for number in SIGNALS}
        self._wakes_before = signal.set_wakeup_fd(self._outer.fileno(), warn_on_full_buffer=False)
        threading.Thread(target=self._listen, args=(heard,), daemon=True, name="signals").start()

    def close(self) -> None:
        """Listen no more; signals do what they did before."""
        signal.set_wakeup_fd(self._wakes_before)
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._outer.close()

    def _listen(self, heard: Callable[[int], None]) -> None:
        with self._inner:
            while told := self._inner.recv(1):  # other signals, such as those of ended children, come here, too
                if told[0] in SIGNALS:
                    heard(told[0])


def leave_signals_to_the_main_process(worker: int) -> None:
    """For a DataLoader's `worker_init_fn`: who signals a whole group of processes does not mean its workers.

    The main process still needs them for the step under way; where that one sends SIGTERM, the worker ends.
    """
    parent = parent_process()
    if parent is None or not hasattr(signal, "sigwaitinfo"):  # such as on macOS: workers end, and training with them
        return
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    threading.Thread(target=_wait_for, args=(parent.pid,), daemon=True, name="signals").start()


def _wait_for(parent: int | None) -> None:
    while signal.sigwaitinfo([signal.SIGTERM]).si_pid != parent:
        pass
    os._exit(STATUS)


def _nothing(*_: Any) -> None:
    """In place of what Lightning would do."""
