"""Trainings that save and go on, on one process or two: `python saving_process.py PLAN`.

PLAN is a JSON file, a list of keyword arguments of `fit`, done one after the other by the same processes. Each process
writes what it found to PLAN_RANK.json.
"""

import json
import logging
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from lightning import Callback, LightningDataModule, LightningModule, Trainer
from torch import Tensor, nn
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor
from torch.utils.data import DataLoader, IterableDataset

from lit_pure.config.training import TrainerConfig
from lit_pure.lit.callbacks.checkpointing import Checkpointing
from lit_pure.lit.distributed.strategies import strategy_of
from lit_pure.runs import checkpoints

BATCH = 4
"""Samples of all processes together."""


class Stream(IterableDataset[tuple[Tensor, Tensor]]):
    """Without end; sample n is always the same, and processes take turns."""

    def __init__(self, start: int, rank: int, world: int) -> None:
        self.start, self.rank, self.world = start, rank, world

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        place = self.start + self.rank
        while True:
            generator = torch.Generator().manual_seed(place)
            x = torch.randn(6, generator=generator, dtype=torch.float64)
            yield x, torch.stack([x[:2].sum(), x.square().mean(), x[3]])
            place += self.world


class Data(LightningDataModule):
    """Remembers how many samples finished steps have taken."""

    def __init__(self) -> None:
        super().__init__()
        self.taken = 0

    def train_dataloader(self) -> DataLoader[Any]:
        trainer: Any = self.trainer
        return DataLoader(Stream(self.taken, trainer.global_rank, trainer.world_size), BATCH // trainer.world_size)

    def val_dataloader(self) -> DataLoader[Any]:
        return DataLoader([row for row, _ in zip(Stream(10**6, 0, 1), range(6), strict=False)], 3)

    def state_dict(self) -> dict[str, Any]:
        assert self.trainer is not None
        return {"taken": self.trainer.global_step * self.trainer.accumulate_grad_batches * BATCH}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.taken = state_dict["taken"]


class Tiny(LightningModule):
    """Two layers that two processes cannot share evenly, one that is frozen, one that gets no gradient, a buffer."""

    steps_seen: Tensor

    def __init__(self, touches_idle: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.last = nn.Linear(6, 5), nn.Linear(5, 3)
        self.idle, self.frozen = nn.Linear(4, 4), nn.Linear(3, 3).requires_grad_(False)
        self.register_buffer("steps_seen", torch.zeros((), dtype=torch.long))
        self.double()
        self.touches_idle, self.cut = touches_idle, False
        self.losses: list[float] = []
        self.rates: list[float] = []
        self.val: list[float] = []

    def configure_model(self) -> None:
        if self.device_mesh is not None and not self.cut:
            for part in (self.first, self.last, self):
                fully_shard(part, mesh=self.device_mesh["data_parallel"])
            self.cut = True

    def forward(self, x: Tensor) -> Tensor:
        made: Tensor = self.frozen(self.last(torch.tanh(self.first(x))))
        return made

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        x, y = batch
        loss = (self(x) - y).square().mean()
        self.steps_seen += 1
        self.losses.append(float(self.trainer.strategy.reduce(loss.detach().clone())))
        return loss + 0 * self.idle(x[:, :4]).sum() if self.touches_idle else loss

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        self.rates.append(float(self.optimizers().param_groups[0]["lr"]))  # type: ignore[union-attr]

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        x, y = batch
        loss = (self(x) - y).square().mean()
        self.log("val/loss", loss, sync_dist=True)

    def on_validation_epoch_end(self) -> None:
        self.val.append(float(self.trainer.callback_metrics["val/loss"]))

    def configure_optimizers(self) -> Any:
        groups = [
            {"params": [*self.first.parameters(), *self.idle.parameters()], "weight_decay": 0.1},
            {"params": [*self.last.parameters(), *self.frozen.parameters()], "weight_decay": 0.0},
        ]
        optimizer = torch.optim.AdamW(groups, lr=0.02)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 / (1 + step))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


class Mean(Callback):
    """An average of the weights, with tensors of its own."""

    shards_name = "mean"

    def __init__(self) -> None:
        self.kept: dict[str, Tensor] = {}
        self.batches = 0

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.kept = {name: p.detach().clone() for name, p in pl_module.named_parameters() if p.requires_grad}

    def shards(self) -> dict[str, Tensor]:
        return self.kept

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *rest: Any) -> None:
        self.batches += 1
        for name, p in pl_module.named_parameters():
            if name in self.kept:
                self.kept[name].lerp_(p.detach(), 0.1)

    def state_dict(self) -> dict[str, Any]:
        return {"batches": self.batches}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.batches = state_dict["batches"]


class Breaks(Callback):
    """From a step on, writing a file `__1_...` (that of the second process) fails as on a full disk."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, *rest: Any) -> None:
        from torch.distributed.checkpoint import filesystem

        real = filesystem.FileSystem.create_stream

        def full(self: Any, path: Any, mode: str) -> Any:
            if Path(path).name.startswith("__1_"):
                raise OSError(28, "No space left on device", str(path))
            return real(self, path, mode)

        if trainer.global_step == self.step and trainer.global_rank == 1:
            filesystem.FileSystem.create_stream = full  # type: ignore[method-assign, assignment]

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        from importlib import reload

        from torch.distributed.checkpoint import filesystem

        reload(filesystem)


def whole(tensor: Tensor) -> list[float]:
    """All numbers, of all processes."""
    full = tensor.full_tensor() if isinstance(tensor, DTensor) else tensor
    return [float(value) for value in full.detach().flatten()]


def fit(
    strategy: str,
    devices: int,
    folder: str,
    steps: int,
    resume: str = "",
    every: int = 2,
    extra: list[Callback] | None = None,
    broken: int | None = None,
    **changes: Any,
) -> dict[str, Any]:
    """Train, validate every 3 steps of 2 batches, save every `every` steps; what happened."""
    config = TrainerConfig(accelerator="cpu", devices=str(devices), timeout=60, strategy=strategy)  # type: ignore[arg-type]
    saving = Checkpointing(Path(folder), every, **{"keep_last": 100, **changes})
    module, mean = Tiny(strategy == "ddp"), Mean()
    breaks = [Breaks(broken)] if broken is not None else []
    trainer = Trainer(
        max_steps=steps,
        accumulate_grad_batches=2,
        val_check_interval=6,
        check_val_every_n_epoch=None,
        accelerator=config.accelerator,
        devices=config.devices,
        strategy=strategy_of(config),
        use_distributed_sampler=False,
        enable_checkpointing=False,
        num_sanity_val_steps=0,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[mean, saving, *breaks, *(extra or [])],
    )
    trainer.fit(module, Data(), ckpt_path=resume or None)
    state = module.state_dict()
    return {
        "strategy": type(trainer.strategy).__name__,
        "losses": module.losses,
        "rates": module.rates,
        "val": module.val,
        "seen": int(module.steps_seen),
        "stepped": trainer.fit_loop.epoch_loop._batches_that_stepped,
        "batches": mean.batches,
        "mean": {name: whole(tensor) for name, tensor in mean.kept.items()},
        "model": {name: whole(tensor) for name, tensor in state.items()},
        "agreed": [trainer.strategy.agree(trainer.global_rank + 1, how) for how in ("max", "min", "sum")],  # type: ignore[attr-defined]
        "kept": [(item.step, item.score) for item in checkpoints.complete(Path(folder))],
        "folders": sorted(item.name for item in Path(folder).iterdir()),
    }


if __name__ == "__main__":
    torch.set_num_threads(1)
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    plan = Path(sys.argv[1])
    done = [fit(**arguments) for arguments in json.loads(plan.read_text())]
    rank = torch.distributed.get_rank() if torch.distributed.is_initialized() else 0
    plan.with_name(f"{plan.stem}_{rank}.json").write_text(json.dumps(done))
