"""A small training that harms itself where it is told to, through the command line's own handling of errors.

Everything that a real training is watched by is here; the model is one matrix. What it came to is in report_0.json,
of several processes each has its own.
"""

import argparse
import ctypes
import json
import logging
import os
import resource
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from lightning import LightningModule, Trainer
from lightning.fabric.strategies.launchers.subprocess_script import _ChildProcessObserver
from torch import Tensor, nn
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor
from torch.utils.data import DataLoader, Dataset

from lit_pure import __main__ as command_line
from lit_pure.commands import run
from lit_pure.config.training import TrainerConfig
from lit_pure.datasets.order import Stream
from lit_pure.lit.callbacks.checkpointing import Checkpointing
from lit_pure.lit.callbacks.signals import StopOnSignal, leave_signals_to_the_main_process
from lit_pure.lit.callbacks.skip_nonfinite import SkipNonFinite
from lit_pure.lit.callbacks.watchdog import Watchdog
from lit_pure.lit.distributed.strategies import strategy_of
from lit_pure.runs import checkpoints

LENGTH = 24
"""Images."""


@dataclass(frozen=True)
class Settings:
    """A training, and what happens to it."""

    folder: str
    fault: str = ""
    """A method of `Faults`."""
    rank: int | None = 0
    """The process that it happens to; None: all of them."""
    steps: tuple[int, ...] = (3,)
    """Steps it happens in: that many are finished."""
    max_steps: int = 6
    every: int = 2
    """Steps between checkpoints."""
    world: int = 1
    strategy: str = "auto"
    accumulate: int = 1
    workers: int = 0
    limit: int = 3
    timeout: float = 60.0
    grace: float = 20.0
    width: int = 4
    keep: int = 1
    """Newest checkpoints that stay."""
    room: str = ""
    """Size of the file system of its own that the checkpoints are on."""
    environment: Mapping[str, str] = field(default_factory=dict)


class Images(Dataset[dict[str, Any]]):
    """Numbers in place of pixels. Image `deadly` kills the process that reads it."""

    def __init__(self, width: int, deadly: int = -1) -> None:
        self.width, self.deadly = width, deadly

    def __len__(self) -> int:
        return LENGTH

    def __getitem__(self, key: tuple[int, int]) -> dict[str, Any]:
        if key[1] == self.deadly:
            os.kill(os.getpid(), signal.SIGKILL)
        generator = torch.Generator().manual_seed(key[1])
        return {"name": f"image{key[1]}", "x": torch.randn(self.width, generator=generator)}


class Faults:
    """What can happen in the middle of a step, between forward and backward pass."""

    def nan(self, module: "Small", loss: Tensor) -> Tensor:
        return loss * float("nan")

    def infinite_gradient(self, module: "Small", loss: Tensor) -> Tensor:
        """Of the first row alone, which is in the piece of one process; the loss is as it was."""
        first_B = module.seen[:, 0]
        return loss + (first_B - first_B.detach()).clamp_min(0).sqrt().sum()  # the root's slope at 0

    def term(self, module: "Small", loss: Tensor) -> Tensor:
        os.kill(os.getpid(), signal.SIGTERM)
        return loss

    def usr1(self, module: "Small", loss: Tensor) -> Tensor:
        os.kill(os.getpid(), signal.SIGUSR1)
        return loss

    def usr1_or_term(self, module: "Small", loss: Tensor) -> Tensor:
        """One process is to go back into the queue, all others are to end."""
        return self.term(module, loss) if module.global_rank else self.usr1(module, loss)

    def term_twice(self, module: "Small", loss: Tensor, number: int = signal.SIGTERM) -> Tensor:
        """The second one while the main thread is deaf, as in a call of C++ that does not come back."""
        stopping = next(item for item in module.trainer.callbacks if isinstance(item, StopOnSignal))  # type: ignore[attr-defined]
        stopping.together = 0.0
        os.kill(os.getpid(), number)
        while not stopping._signal:
            threading.Event().wait(0.01)
        threading.Thread(target=os.kill, args=(os.getpid(), number)).start()
        mutex, lock = ctypes.create_string_buffer(64), ctypes.CDLL(None).pthread_mutex_lock
        lock(mutex)
        lock(mutex)
        return loss

    def interrupt_twice(self, module: "Small", loss: Tensor) -> Tensor:
        return self.term_twice(module, loss, signal.SIGINT)

    def term_group(self, module: "Small", loss: Tensor) -> Tensor:
        """As a queue or `timeout` does: this process, and all its workers."""
        subprocess.run(["kill", "-TERM", "--", f"-{os.getpgid(0)}"], start_new_session=True, check=True)
        return loss

    def interrupt(self, module: "Small", loss: Tensor) -> Tensor:
        os.kill(os.getpid(), signal.SIGINT)
        return loss

    def hangup(self, module: "Small", loss: Tensor) -> Tensor:
        """As the end of a terminal does."""
        os.kill(os.getpid(), signal.SIGHUP)
        return loss

    def interrupt_group(self, module: "Small", loss: Tensor) -> Tensor:
        """As a terminal does on Ctrl-C: this process, its workers, and processes that Lightning started."""
        subprocess.run(["kill", "-INT", "--", f"-{os.getpgid(0)}"], start_new_session=True, check=True)
        return loss

    def die(self, module: "Small", loss: Tensor) -> Tensor:
        os.kill(os.getpid(), signal.SIGKILL)
        return loss

    def hang(self, module: "Small", loss: Tensor) -> Tensor:
        threading.Event().wait()
        return loss

    def wrong(self, module: "Small", loss: Tensor) -> Tensor:
        raise ValueError("this image has seven legs")

    def full_disk(self, module: "Small", loss: Tensor) -> Tensor:
        """No file may become larger than this from here on: the system refuses as it does where there is no room."""
        resource.setrlimit(resource.RLIMIT_FSIZE, (600, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
        return loss

    def full_disk_and_term(self, module: "Small", loss: Tensor) -> Tensor:
        return self.term(module, self.full_disk(module, loss))

    def die_saving(self, module: "Small", loss: Tensor) -> Tensor:
        """While this step's checkpoint is written: its tensors are on the disk, its mark is not."""

        def deadly(*_: Any) -> None:
            os.kill(os.getpid(), signal.SIGKILL)

        torch.save = deadly  # type: ignore[assignment]
        return loss


class Small(LightningModule):
    """A matrix that is to be the negative identity."""

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self.settings, self.layer = settings, nn.Linear(settings.width, settings.width)
        self.before: dict[str, Any] = {}
        self.seen = torch.empty(0)
        self.untouched: list[bool] = []
        self.losses: list[float] = []

    def configure_model(self) -> None:
        if self.settings.strategy == "fsdp" and self.trainer.training:
            assert self.device_mesh is not None
            fully_shard(self.layer, mesh=self.device_mesh["data_parallel"])

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        harmed = self.settings.fault in ("nan", "infinite_gradient") and self.global_step in self.settings.steps
        self.before = self.before or (self.everything() if harmed else {})

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> Tensor:
        self.seen = self.layer(batch["x"])
        loss = (self.seen + batch["x"]).square().mean()
        self.losses.append(loss.item())
        settings = self.settings
        meant = settings.rank in (None, self.global_rank) and self.global_step in settings.steps
        if meant and hasattr(Faults, settings.fault):
            self.trainer.strategy.settle_saving()  # what came before is on the disk
            return getattr(Faults(), settings.fault)(self, loss)  # type: ignore[no-any-return]
        return loss

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        if self.before and not self.trainer.fit_loop._should_accumulate():
            now, before = self.everything(), self.before
            self.untouched.append(all(torch.equal(now[key], value) for key, value in before.items()))
            self.before = {}

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(self.parameters(), lr=0.1)

    def everything(self) -> dict[str, Tensor]:
        """Copies of this process's parameters and moments."""
        found: dict[str, Tensor] = dict(self.named_parameters())
        (optimizer,) = self.trainer.optimizers
        for number, state in enumerate(optimizer.state.values()):
            found |= {f"{number}.{key}": value for key, value in state.items()}
        return {key: _local(value).detach().clone() for key, value in found.items()}

    def train_dataloader(self) -> DataLoader[Any]:
        settings, trainer = self.settings, self.trainer
        start = trainer.global_step * 2 * settings.accumulate * trainer.world_size
        deadly = 7 if settings.fault == "worker" and self.global_rank == settings.rank else -1
        return DataLoader(
            Images(settings.width, deadly),
            batch_size=2,
            sampler=Stream(LENGTH, 0, start, trainer.global_rank, trainer.world_size),
            num_workers=settings.workers,
            multiprocessing_context="fork" if settings.workers else None,  # else those of a forked process would not be
            worker_init_fn=leave_signals_to_the_main_process,
        )


def _local(value: Tensor) -> Tensor:
    return value.to_local() if isinstance(value, DTensor) else value


def _whole(value: Tensor) -> Tensor:
    return value.full_tensor() if isinstance(value, DTensor) else value


def fit(settings: Settings) -> int:
    """Train, from the newest checkpoint where there is one."""
    folder = Path(settings.folder)
    torch.manual_seed(0)
    found = checkpoints.newest(folder / checkpoints.FOLDER)
    guard = SkipNonFinite(folder, settings.limit)
    saving = Checkpointing(folder / checkpoints.FOLDER, settings.every, keep_last=settings.keep, keep_best=0)
    config = TrainerConfig(
        accelerator="cpu", devices=str(settings.world), strategy=settings.strategy, timeout=settings.timeout
    )
    trainer = Trainer(
        max_steps=settings.max_steps,
        accelerator="cpu",
        devices=settings.world,
        strategy=strategy_of(config),
        accumulate_grad_batches=settings.accumulate,
        gradient_clip_val=1.0,
        use_distributed_sampler=False,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[guard, saving, StopOnSignal(saving), Watchdog(settings.timeout, settings.grace)],
    )
    module = Small(settings)
    try:
        trainer.fit(module, ckpt_path=found.folder if found else None)
    finally:
        done = trainer.state.status == "finished"
        weights = [_whole(value) for value in module.parameters()] if done else []
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.getrlimit(resource.RLIMIT_FSIZE)[1],) * 2)
        report = {
            "from": found.step if found else 0,
            "steps": trainer.global_step,
            "losses": module.losses,
            "untouched": module.untouched,
            "in_a_row": guard.in_a_row,
            "weights": [value.tolist() for value in weights],
        }
        (folder / f"report_{trainer.global_rank}.json").write_text(json.dumps(report))
    return 0


def main(settings: Settings) -> int:
    """As `lit-pure run` would."""

    def small(_: argparse.Namespace) -> int:
        """Train."""
        return fit(settings)

    run.run_command = small
    _ChildProcessObserver.__init__.__defaults__ = (0.05,)  # Lightning looks every 5 s: too seldom to do harm for sure
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)  # as the real one does
    logging.getLogger("lightning.fabric").setLevel(logging.WARNING)
    if not settings.room:
        return command_line.main(["run", "small"])
    folder = Path(settings.folder) / checkpoints.FOLDER
    _mount(folder, settings.room)
    status = command_line.main(["run", "small"])
    shutil.copytree(folder, folder.with_name("left"))
    return status


def _mount(folder: Path, room: str) -> None:
    """A file system that this process alone sees. Ends with status 77 where the system does not let us."""
    libc, inside = ctypes.CDLL(None), (os.getuid(), os.getgid())
    if libc.unshare(0x10000000 | 0x00020000):  # CLONE_NEWUSER | CLONE_NEWNS
        sys.exit(77)
    Path("/proc/self/uid_map").write_text(f"0 {inside[0]} 1")
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/gid_map").write_text(f"0 {inside[1]} 1")
    folder.mkdir()
    if libc.mount(b"tmpfs", bytes(folder), b"tmpfs", 0, f"size={room}".encode()):
        sys.exit(77)


if __name__ == "__main__":
    torch.set_num_threads(1)
    sys.exit(main(Settings(**json.loads(sys.argv[1]))))
