"""Stops a training on SIGTERM, SIGHUP, SIGUSR1 and Ctrl-C: it finishes its step, saves, and ends the process.

Knows signals and Lightning's hooks. Knows nothing of what is saved, or how.
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

from lit_pure.lit.distributed.strategies import FolderCheckpoints
from lit_pure.runs.stop import EXIT_STATUS, REQUEUE_SIGNAL, TRAINING_STOPS, Stopped, exit_status, heeded, requeue

log = logging.getLogger(__name__)

TOGETHER = 1.0
"""Signals within this time count as one [s]: SLURM signals all processes of a job, and torchrun forwards its own."""


class SavesNow(Protocol):
    """Writes a checkpoint, all processes together; it is complete when the call returns."""

    def save_now(self, trainer: Trainer) -> Any: ...


class StopOnSignal(Callback):
    """Ends a training with `Stopped` after the optimizer step in which any process got a signal.

    All processes stop after the same step, whichever of them got the signal. The exit status is 130 after SIGINT
    (Ctrl-C), else 143. SIGUSR1 also puts a SLURM job back into its queue. A second signal ends the process at once;
    earlier checkpoints are kept. A running validation is finished first. Outside training it only disables Lightning's
    own handling, so that a signal does what it did without a Trainer. It must come after all callbacks whose state a
    checkpoint holds.
    """

    def __init__(self, checkpointing: SavesNow | None, together: float = TOGETHER) -> None:
        """
        Args:
            checkpointing: saves; None: nothing is, as in a debug run.
            together: signals within this time count as one [s].
        """
        self.checkpointing, self.together = checkpointing, together
        self._listener: SignalListener | None = None
        self._children: list[subprocess.Popen[bytes]] = []
        self._signal, self._step, self._first = 0, 0, True
        self._heard: float | None = None

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Disable Lightning's own handling.

        Its handler broadcasts, so it waits for processes that got no signal. Its check before each batch hides the
        error by which a process learns that another one died, and makes the host wait for the device.
        """
        trainer._signal_connector.register_signal_handlers = _nothing  # type: ignore[method-assign]
        trainer.fit_loop.epoch_loop._broadcast_sigterm_tensor = _nothing  # type: ignore[method-assign]
        self._children = self._children or [*getattr(trainer.strategy.launcher, "procs", ())]

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start to listen."""
        self._signal, self._heard = 0, None
        self._step, self._first = trainer.global_step, trainer.is_global_zero
        if threading.current_thread() is threading.main_thread():  # only the main thread can handle signals
            self._listener = SignalListener(self._note, self._on_signal)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """If a step is finished and any process got a signal: save, and end."""
        if trainer.global_step == self._step:  # in the middle of an accumulation
            return
        self._step = trainer.global_step
        assert isinstance(trainer.strategy, FolderCheckpoints), "Checkpointing needs one of these, too"
        if number := int(trainer.strategy.agree(self._signal, "max")):
            self._stop(trainer, signal.Signals(number))

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop listening: what follows cannot be saved half done."""
        self._stop_listening()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Stop listening: the first signal may end a process that has failed."""
        self._stop_listening()

    def _stop(self, trainer: Trainer, number: signal.Signals) -> None:
        # Lightning logs a step after this hook, which does not return.
        trainer._logger_connector.on_batch_end()
        trainer._logger_connector.update_train_step_metrics()
        if self.checkpointing is not None:
            self.checkpointing.save_now(trainer)
        if number.name == REQUEUE_SIGNAL and trainer.is_global_zero:
            requeue()
        # Launchers end all processes as soon as one has ended: none leaves before the first one is done.
        trainer.strategy.barrier("stopping")
        # Lightning observes the processes that it started, and would kill this one because they end with a status.
        getattr(trainer.strategy.launcher, "procs", []).clear()
        saved = "saved; the same command resumes" if self.checkpointing is not None else "a debug run saves nothing"
        message = f"stopped by {number.name} after step {trainer.global_step}; {saved}"
        raise Stopped(message if trainer.is_global_zero else "", exit_status(number))

    def _note(self, number: int, frame: FrameType | None = None) -> None:
        """Called on the main thread, before its next line of Python, or on the listener's."""
        self._signal = self._signal or number

    def _on_signal(self, number: int) -> None:
        """Called on the listener's thread, whatever the main thread does."""
        name, now = signal.Signals(number).name, time.monotonic()
        if self._heard is None:
            self._heard = now
            self._note(number)
            log.info("%s: ending after this step; a second signal ends this process at once", name)
        elif now - self._heard >= self.together:
            if self._first:
                log.error("stopped at once by a second signal, %s; the last complete checkpoint is kept", name)
            for child in self._children:
                child.kill()
            os._exit(exit_status(number))

    def _stop_listening(self) -> None:
        if self._listener is not None:
            self._listener.close()
        self._listener = None


class SignalListener:
    """Receives signals on its own thread, too.

    A handler in Python runs only when the main thread returns from C++, where it may wait half an hour for another
    process or a device. The main thread makes and closes this object, and `handler` is called there. `on_signal` is
    called on the other thread, before or after that.
    """

    def __init__(self, handler: Callable[[int, FrameType | None], None], on_signal: Callable[[int], None]) -> None:
        self._inner, self._outer = socket.socketpair()
        self._outer.setblocking(False)
        self._before = {number: signal.signal(number, handler) for number in heeded(TRAINING_STOPS)}
        self._wakes_before = signal.set_wakeup_fd(self._outer.fileno(), warn_on_full_buffer=False)
        threading.Thread(target=self._listen, args=(on_signal,), daemon=True, name="signals").start()

    def close(self) -> None:
        """Restore what signals did before."""
        signal.set_wakeup_fd(self._wakes_before)
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._outer.close()

    def _listen(self, on_signal: Callable[[int], None]) -> None:
        with self._inner:
            while received := self._inner.recv(1):  # other signals, such as those of ended children, come here, too
                if received[0] in self._before:
                    on_signal(received[0])


def leave_signals_to_the_main_process(worker: int) -> None:
    """For a DataLoader's `worker_init_fn`: a worker ignores signals that are sent to its whole process group.

    The main process still needs its workers for the current step, and a terminal's Ctrl-C reaches them, too. Its own
    SIGTERM ends the worker.
    """
    parent = parent_process()
    if parent is None or not hasattr(signal, "sigwaitinfo"):  # as on macOS: the workers end, and so does the training
        return
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGUSR1, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    threading.Thread(target=_wait_for, args=(parent.pid,), daemon=True, name="signals").start()


def _wait_for(parent: int | None) -> None:
    while signal.sigwaitinfo([signal.SIGTERM]).si_pid != parent:
        pass
    os._exit(EXIT_STATUS)


def _nothing(*_: Any) -> None:
    """Replaces a method of Lightning."""
