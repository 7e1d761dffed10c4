"""The training loop that one would write without Lightning, for `bench train`.

Knows a model, its batches and an optimizer. Knows no logs, callbacks, checkpoints or second process.

Shape legend: B batch, T sequence, N label positions, D width.
"""

from collections.abc import Iterator
from typing import Any

import torch
from lightning import LightningDataModule
from torch import Tensor
from torch.distributed.device_mesh import DeviceMesh

from lit_pure.datasets.order import CONDITION_DRAW
from lit_pure.families.pure.sequence.assemble import IGNORE
from lit_pure.lit.callbacks.seeding import seed_batch
from lit_pure.lit.data import generators
from lit_pure.lit.distributed.sharding import prepare
from lit_pure.lit.pure import ARModule
from lit_pure.lit.schedule import configure


class PlainLoop:
    """The steps of a training, one by one. It uses the parts of the module, but not Lightning."""

    def __init__(
        self, module: ARModule, data: LightningDataModule, device: torch.device, mesh: DeviceMesh | None
    ) -> None:
        """`mesh`: for FSDP2; None does not shard the backbone."""
        config = module.config
        self.config, self.module, self.data, self.device = config, module, data, device
        self.backbone = module.backbone.to(device).train()
        module.restorer.tokenizer.to(device)
        prepare(self.backbone, config.trainer, mesh)
        self.parameters = list(self.backbone.parameters())
        configured: Any = configure(self.parameters, config.optim, config.trainer.max_steps)
        self.optimizer, self.schedule = configured["optimizer"], configured["lr_scheduler"]["scheduler"]
        self.steps = 0
        self.batches: Iterator[dict[str, Any]] = iter(data.train_dataloader())

    def step(self) -> Tensor:
        """One batch and one optimizer step; returns the detached loss."""
        batch = self._next()
        seed_batch(self.config.seed, self.steps, 0, self.device)
        self.steps += 1
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.config.trainer.precision == "bf16-mixed"):
            loss = self._loss(batch)
        loss.backward()
        if self.config.trainer.gradient_clip:
            torch.nn.utils.clip_grad_norm_(self.parameters, self.config.trainer.gradient_clip)
        self.optimizer.step()
        self.schedule.step()
        self.optimizer.zero_grad()
        return loss.detach()

    def _next(self) -> Any:
        """A batch on the device, degraded and scored there."""
        batch = next(self.batches)
        moved = {
            key: value.to(self.device, non_blocking=True) if isinstance(value, Tensor) else value
            for key, value in batch.items()
        }
        return self.data.on_after_batch_transfer(moved, 0)

    def _loss(self, batch: Any) -> Tensor:
        """Cross entropy on the answer."""
        assembler, dropped = self.module.restorer.assembler, self.config.sequence.condition_dropout
        bare = [bool(rng.random() < dropped) for rng in generators(self.config.seed, batch, CONDITION_DRAW)]
        sequences = assembler.batch(self.module.samples(batch), bare)
        ids_BT, labels_BT = (each.to(self.device, non_blocking=True) for each in sequences)
        hidden_BTD = self.backbone(ids_BT[:, :-1])
        keep_BT = labels_BT[:, 1:] != IGNORE
        labels_N = labels_BT[:, 1:][keep_BT]
        weight_N = torch.full(labels_N.shape, 1 / len(labels_N), device=self.device)
        chunk, z = self.backbone.config.loss_chunk, self.backbone.config.z_loss
        loss, _ = self.backbone.head(hidden_BTD[keep_BT], labels_N, weight_N, chunk, z)
        return loss
