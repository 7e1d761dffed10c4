"""A training with averaged weights, on one process or two that hold half the weights each (FSDP2).

`python averaging_run.py FOLDER COUNT`. The first process writes FOLDER/COUNT.json: weights and averages, as lists. The
averages are also written to FOLDER/COUNT by torch.distributed.checkpoint.
"""

import json
import sys
from pathlib import Path
from typing import Any

import torch
import torch.distributed.checkpoint as dcp
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.strategies import ModelParallelStrategy
from torch import Tensor, nn
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor
from torch.utils.data import DataLoader

from lit_pure.lit.callbacks.ema import EMA

DECAY, STEPS = 0.8, 6


class Line(LightningModule):
    """Three linear maps of which one is frozen, trained to shift a vector; rows do not divide evenly by two."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.maps = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 5), nn.Linear(5, 4))
        self.maps[2].requires_grad_(False)
        self.validated: list[dict[str, Tensor]] = []
        self.tested: dict[str, Tensor] = {}
        self.fails = False

    def configure_model(self) -> None:
        if self.device_mesh is not None and not isinstance(self.maps[0].weight, DTensor):
            fully_shard(self.maps[0], mesh=self.device_mesh["data_parallel"])
            fully_shard(self.maps, mesh=self.device_mesh["data_parallel"])

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        loss: Tensor = (self.maps(batch) - batch.roll(1, -1)).square().mean()
        return loss

    def validation_step(self, batch: Tensor, batch_idx: int) -> None:
        if self.fails:
            raise ValueError("no validation")
        self.validated.append(weights(self))

    def test_step(self, batch: Tensor, batch_idx: int) -> None:
        self.tested = weights(self)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW([item for item in self.parameters() if item.requires_grad], lr=0.05)


def weights(module: nn.Module) -> dict[str, Tensor]:
    """Copies of what is trained, whole."""
    return {name: whole(item) for name, item in module.named_parameters() if item.requires_grad}


def whole(item: Tensor) -> Tensor:
    with torch.inference_mode(False):
        return (item.full_tensor() if isinstance(item, DTensor) else item).detach().clone()


class Notes(Callback):
    """Remembers the weights after each batch."""

    def __init__(self) -> None:
        self.after: list[dict[str, Tensor]] = []

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        self.after.append(weights(pl_module))


def data(batches: int) -> DataLoader[Tensor]:
    """The same batches each time, and on each process."""
    generator = torch.Generator().manual_seed(1)
    return DataLoader(torch.randn(batches * 4, 4, generator=generator), batch_size=4)  # type: ignore[arg-type]


def trainer(callbacks: list[Callback], **options: Any) -> Trainer:
    """Quiet, on a CPU."""
    quiet: dict[str, Any] = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    settings = {
        "max_steps": STEPS,
        "enable_checkpointing": False,
        "num_sanity_val_steps": 0,
        "accelerator": "cpu",
        "use_distributed_sampler": False,
    }
    return Trainer(callbacks=callbacks, **(settings | quiet | options))


def run(folder: Path, count: int) -> None:
    module, averaging, notes = Line(), EMA(DECAY), Notes()
    strategy: Any = ModelParallelStrategy(count, 1, process_group_backend="gloo") if count > 1 else "auto"
    fitting = trainer([averaging, notes], devices=count, strategy=strategy)
    fitting.fit(module, data(STEPS), data(1))
    averages = averaging.shards()
    assert all(isinstance(item, DTensor) == (count > 1) for item in averages.values())
    dcp.save({"ema": averages}, checkpoint_id=folder / str(count))
    found = {
        "after": [{name: item.tolist() for name, item in after.items()} for after in notes.after],
        "validated": {name: item.tolist() for name, item in module.validated[-1].items()},
        "averages": {name: whole(item).tolist() for name, item in averages.items()},
        "end": {name: item.tolist() for name, item in weights(module).items()},
    }
    if fitting.is_global_zero:
        (folder / f"{count}.json").write_text(json.dumps(found))


if __name__ == "__main__":
    torch.set_num_threads(1)
    run(Path(sys.argv[1]), int(sys.argv[2]))
