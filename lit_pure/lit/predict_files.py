"""Shares work on files out to processes, by Lightning's Trainer (`predict`); the first one receives what comes of it.

The first process alone decides what is done: it sends the work to the others, which only work, and end as it does. Who
is free takes the next file, so that each is taken once, and none waits for a slow one. Knows nothing of files,
pictures, or what is printed.
"""

import math
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from types import FrameType
from typing import Any, NoReturn

import torch
from lightning import LightningModule, Trainer
from torch import distributed
from torch.utils.data import DataLoader

from lit_pure.config.training import TrainerConfig
from lit_pure.files.work import InTurn, Item, Outcome, Receive, Work
from lit_pure.lit.callbacks.watchdog import Watchdog
from lit_pure.lit.distributed.mailbox import TICK, Collector, Mailbox, Message, Untaken
from lit_pure.lit.distributed.processes import agree_on, count_launched
from lit_pure.lit.distributed.strategies import strategy_of
from lit_pure.runs.stop import INTERRUPTED, Stopped, first_process, heeded

FAREWELL = 10.0
"""How long the first process waits for the others to end [s]."""
KEPT = "what was finished stays; the same command resumes"
ORDER, STATUS, GONE = "order", "status", "gone"
"""What the first process leaves for the others; and how many of these have ended."""


@dataclass(frozen=True)
class Order:
    """What is to be done."""

    work: Work[Any, Any]
    items: Sequence[Any]
    threads: int
    """Those of the first process: sums over other numbers of threads round differently."""


class FilesModule(LightningModule):
    """What one process does. A batch is the number of an item."""

    mailbox: Mailbox
    order: Order
    collector: Collector | None = None

    def __init__(self, order: Order | None = None, receive: Receive[Any] | None = None) -> None:
        """Both are given in the first process."""
        super().__init__()
        self._given, self._receive, self._opened = order, receive, ExitStack()
        self.watchdog = Watchdog(math.inf, then=KEPT)

    def setup(self, stage: str) -> None:
        """The processes are connected: learn what to do, and keep our handling of signals.

        Lightning's handler broadcasts, so it waits for processes that got no signal.
        """
        self.trainer._signal_connector.register_signal_handlers = lambda: None  # type: ignore[method-assign]
        self.mailbox = Mailbox()
        if self._given is not None and not self.mailbox.has(ORDER):
            self.mailbox.put(ORDER, self._given)
        self.order = self._given or self.mailbox.get(ORDER)
        torch.set_num_threads(self.order.threads)

    def predict_dataloader(self) -> DataLoader[int]:
        """The numbers of the items that this process takes."""
        count = len(self.order.items)
        return DataLoader(range(count), batch_size=None, sampler=Untaken(self.mailbox, count))  # type: ignore[arg-type]

    def on_predict_start(self) -> None:
        """Load what the work needs, then receive: a library may replace standard output while it loads."""
        with self._reported():
            self._do = self._opened.enter_context(self.order.work(self.trainer.strategy.root_device))
        if self._receive is not None:
            count = len(self.order.items)
            self.collector = Collector(self.mailbox, self.trainer.world_size, count, self._receive)
            self.collector.start()

    def predict_step(self, batch: int) -> bool:
        """Do the work on one item."""
        with self._reported():
            self.mailbox.send(Message(batch, self._do(self.order.items[batch])))
        return True

    def on_predict_end(self) -> None:
        """No item is left; the first process waits for the others."""
        self.mailbox.send(Message())
        while self.collector is not None and self.collector.is_alive():
            self.collector.join(TICK)  # hearing signals
            self.watchdog.require_others()

    def teardown(self, stage: str) -> None:
        """Close what is open."""
        self._opened.close()

    @contextmanager
    def _reported(self) -> Iterator[None]:
        """An error ends the work of all processes, each after its item."""
        try:
            yield
        except Exception as error:
            self.mailbox.close(len(self.order.items))
            self.mailbox.send(Message(error=error))


class Processes:
    """The processes of one command: the first one calls this object once at most, then `end`; the others `follow`."""

    alone = False

    def __init__(self, config: TrainerConfig) -> None:
        """`config` says how many there are; those that torchrun or SLURM started are connected now."""
        self._config, self._broken = config, False
        if count_launched() > 1:
            agree_on("files", config, dict)

    def __call__(self, work: Work[Item, Outcome], items: Sequence[Item], receive: Receive[Outcome]) -> None:
        """As `ForEach` says; no more processes are started than there are items."""
        if not distributed.is_initialized():
            count = min(int(self._config.devices), len(items))
            if count < 2:
                InTurn(lambda: strategy_of(replace(self._config, devices="1", strategy="auto")).root_device)(
                    work, items, receive
                )
                return
            self._config = replace(self._config, devices=str(count))
        order = Order(work, items, torch.get_num_threads())
        if distributed.is_initialized():
            Mailbox().put(ORDER, order)  # the others begin when they have it
        module = FilesModule(order, receive)
        self._predict(module)
        assert module.collector is not None
        if module.collector.error is not None:
            raise module.collector.error

    def follow(self) -> NoReturn:
        """Do what the first process asks for, and end as it does: raises `Stopped`."""
        try:
            if not distributed.is_initialized() or self._is_asked():
                self._predict(FilesModule())
            mailbox = Mailbox()
            status = int(mailbox.get(STATUS))
            with suppress(distributed.DistError):  # the first process ends as soon as it has heard
                mailbox.count(GONE)
        except distributed.DistError:  # the first process is gone
            status = 1
        raise Stopped(status=status)

    def _is_asked(self) -> bool:
        """Wait until the first process asks for work, or ends without any."""
        mailbox = Mailbox()
        while not mailbox.has(ORDER):
            if mailbox.has(STATUS):
                return False
            time.sleep(TICK)
        return True

    def end(self, status: int) -> None:
        """Let the others end, with the exit status of the first one."""
        if not distributed.is_initialized():
            return
        with suppress(distributed.DistError):  # torchrun, which keeps the store, is gone
            mailbox, until = Mailbox(), time.monotonic() + FAREWELL
            mailbox.put(STATUS, status)
            others = distributed.get_world_size() - 1
            while not self._broken and mailbox.count(GONE, 0) < others and time.monotonic() < until:
                time.sleep(TICK)

    def _predict(self, module: FilesModule) -> None:
        config = self._config
        trainer = Trainer(
            accelerator=config.accelerator,
            devices=config.devices,
            num_nodes=config.num_nodes,
            strategy=strategy_of(config),
            use_distributed_sampler=False,
            inference_mode=False,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            callbacks=[module.watchdog],
        )
        try:
            with _interruptible():
                trainer.predict(module, return_predictions=False)
        except BaseException:
            self._broken = True
            module.watchdog.stop_children(getattr(trainer.strategy.launcher, "procs", []))
            raise


@contextmanager
def _interruptible() -> Iterator[None]:
    """Ctrl-C raises `Stopped`: Lightning would kill the other processes in the middle of a file."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise Stopped(f"stopped; {KEPT}" if first_process() else "", INTERRUPTED)

    before = {number: signal.signal(number, stop) for number in heeded([signal.SIGINT])}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
