"""Trainings of the AR module on made-up pictures, on one process or several: `torchrun sharded.py FOLDER`.

Each process trains every one of `PLANS` and writes FOLDER/NAME_RANK.pt: what it saw and what became of it.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer, seed_everything
from lightning.pytorch.strategies import DDPStrategy, ModelParallelStrategy, Strategy
from torch import Tensor, distributed
from torch.distributed.tensor import DTensor
from torch.utils.data import DataLoader, Dataset, default_collate

from lit_pure.config.pure import BackboneConfig, PureExperiment, SamplingConfig, SequenceConfig
from lit_pure.config.tokenizer import VQConfig
from lit_pure.config.training import OptimConfig, TrainerConfig
from lit_pure.datasets.order import InOrder, Key, Stream
from lit_pure.families.pure.restorer import Restorer
from lit_pure.families.pure.sequence.assemble import IGNORE, Assembler
from lit_pure.families.pure.sequence.make_vocabulary import make_vocabulary
from lit_pure.lit.data import Batch
from lit_pure.lit.distributed.sharding import full_state, gathered, world_size
from lit_pure.lit.pure import ARModule
from lit_pure.models.next_token import NextTokenBackbone
from lit_pure.models.vq import VQTokenizer

WORDS = ["bright", "dark", "picture", "of", "a", "cat", "small", "noise", "and", "much", "blur"]
VOCABULARY = make_vocabulary([" ".join(WORDS)] * 5, codes=40, words=300)
BATCH, VALIDATED = 4, 5
"""Samples of a step, and pictures of a validation, on all processes together."""
LONG = 20


@dataclass(frozen=True)
class Plan:
    """One training."""

    strategy: str
    steps: int = 4
    frozen: bool = False
    """Whether most of the parameters are."""
    muted: bool = False
    """Whether every second sample is without labels: on two processes, all those of the second one."""
    settings: dict[str, Any] = field(default_factory=dict)
    """Of the trainer's configuration."""
    prior: float = 0.0
    """`backbone.lq_prior`: a single number, which one of two processes holds."""


PLANS = {
    "fsdp": Plan("fsdp", LONG),
    "ddp": Plan("ddp", LONG),
    "fsdp_block_compiled": Plan("fsdp", settings={"activation_checkpointing": "block", "compile": True}),
    "fsdp_selective": Plan("fsdp", settings={"activation_checkpointing": "selective"}),
    "fsdp_bf16": Plan("fsdp", settings={"precision": "bf16-mixed"}),
    "fsdp_frozen": Plan("fsdp", frozen=True),
    "fsdp_muted": Plan("fsdp", muted=True),
    "fsdp_prior": Plan("fsdp", prior=2.0),
}


class Pictures(Dataset[dict[str, Any]]):
    """Noise with captions of 1 to 11 words."""

    def __len__(self) -> int:
        return VALIDATED

    def __getitem__(self, key: Key) -> dict[str, Any]:
        epoch, index = key
        generator = torch.Generator().manual_seed(index)
        return {
            "hq_B3HW": torch.rand(3, 32, 32, generator=generator),
            "lq_B3hw": torch.rand(3, 8, 8, generator=generator),
            "caption": " ".join(WORDS[: 1 + index * 7 % 11]),
            "name": f"photo{index}",
            "epoch": epoch,
            "index": index,
        }


def collate(items: list[dict[str, Any]]) -> Batch:
    batch: Batch = default_collate(items)
    batch["labels"] = [("large", "small") if index % 2 else ("medium", "large") for index in batch["index"].tolist()]
    return batch


def experiment(plan: Plan) -> PureExperiment:
    backbone = BackboneConfig(width=32, layers=2, heads=2, ffn=48, dropout=0.0, loss_chunk=7, lq_prior=plan.prior)
    trainer = TrainerConfig(max_steps=plan.steps, **plan.settings)
    sequence, optim = SequenceConfig(condition_dropout=0.2), OptimConfig(lr=3e-3)
    return PureExperiment(backbone=backbone, trainer=trainer, sequence=sequence, optim=optim)


def module(plan: Plan) -> ARModule:
    seed_everything(0, verbose=False)
    config = experiment(plan)
    vq = VQConfig(stem=4, channels=[32, 32], res_blocks=1, attention=False, z_channels=8, codes=40)
    tokenizer = VQTokenizer(vq).requires_grad_(False).eval()
    backbone = NextTokenBackbone(config.backbone, VOCABULARY.size)
    if plan.frozen:  # as adapters have it: frozen beside trained in one unit, and units that are frozen as a whole
        backbone.requires_grad_(False)
        for block in backbone.blocks:
            block.get_submodule("attention.q").requires_grad_(True)
            block.get_submodule("ffn_norm").requires_grad_(True)
    sampling = SamplingConfig(max_text=12)
    restorer = Restorer(tokenizer, backbone, Assembler(VOCABULARY, "full", 8, 20), sampling, size=32, scale=4)
    if plan.muted:
        restorer.assembler.batch = partial(muted, restorer.assembler.batch)  # type: ignore[method-assign]
    return ARModule(config, restorer)


def muted(batch: Callable[..., tuple[Tensor, Tensor]], samples: Any, bare: Any) -> tuple[Tensor, Tensor]:
    """A batch in which every second sample of all processes is without labels."""
    ids_BT, labels_BT = batch(samples, bare)
    rank = distributed.get_rank() if distributed.is_initialized() else 0
    labels_BT[(torch.arange(len(labels_BT)) * world_size() + rank) % 2 == 1] = IGNORE
    return ids_BT, labels_BT


def restored(made: ARModule) -> tuple[Tensor, Tensor]:
    """What becomes of a picture that is in no set, and the entropies that its codes were drawn with."""
    lq_B3hw = torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(99))
    found = made.restorer.restore(lq_B3hw, ["another"])[0]
    return found.image_3HW, found.maps["entropy"].values_hw


class Watch(Callback):
    """Keeps what the tests compare."""

    def __init__(self) -> None:
        self.seen: dict[str, Any] = {"losses": [], "val": [], "restored": [], "alone": [], "cut": []}

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        self.seen["losses"].append(float(trainer.callback_metrics["train/loss"]))

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._look(pl_module)

    def on_validation_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int, *_: Any
    ) -> None:
        assert isinstance(pl_module, ARModule)
        if batch_idx == 0:
            self.seen["restored"].append((batch["name"], pl_module.shown["restored"], pl_module.entropy_Bhw))
        elif trainer.is_global_zero:  # the others make no pass now: whoever waited for them would wait for ever
            self.seen["alone"].append(restored(pl_module))
        self.seen["computed_in"] = pl_module.backbone.head.weight.dtype

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._look(pl_module)
        self.seen["val"].append({key: float(trainer.callback_metrics[f"val/{key}"]) for key in ("loss", "loss_text")})

    def _look(self, module: LightningModule) -> None:
        """Whether what callbacks see before and after a validation are pieces, as an average of weights needs it."""
        self.seen["cut"].append(all(isinstance(item, DTensor) for item in module.parameters()))

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        optimizer = trainer.optimizers[0]
        moments = [value for state in optimizer.state.values() for value in state.values() if value.ndim]
        self.seen["stored_in"] = {item.dtype for item in [*pl_module.parameters(), *moments]}


def strategy(name: str, world: int) -> Strategy | str:
    match name:
        case "fsdp":
            return ModelParallelStrategy(data_parallel_size=world, tensor_parallel_size=1)
        case "ddp":
            return DDPStrategy()
        case _:
            return "auto"


def train(plan: Plan, rank: int, world: int) -> dict[str, Any]:
    """Train on this process and `world - 1` others, with a validation in the middle, and restore at the end."""
    made, watch = module(plan), Watch()
    keys = list(made.state_dict())
    loaders = [
        DataLoader(Pictures(), batch_size=size // world, sampler=sampler, collate_fn=collate)
        for size, sampler in (
            (BATCH, Stream(VALIDATED, 0, 0, rank, world)),
            (2, InOrder(VALIDATED, rank, world)),
        )
    ]
    trainer = Trainer(
        max_steps=plan.steps, val_check_interval=plan.steps // 2, check_val_every_n_epoch=None, log_every_n_steps=1,
        gradient_clip_val=0.5, accelerator="cpu", devices=world, strategy=strategy(plan.strategy, world),
        precision=made.config.trainer.precision, num_sanity_val_steps=0, use_distributed_sampler=False,
        enable_model_summary=False, enable_progress_bar=False, enable_checkpointing=False, logger=False,
        callbacks=[watch],
    )  # fmt: skip
    trainer.fit(made, *loaders)
    pieces = [item.to_local().numel() for item in made.backbone.parameters() if isinstance(item, DTensor)]
    with gathered(made.backbone):
        watch.seen["after"] = restored(made)
    after: dict[str, Any] = {
        "keys": [keys, list(made.state_dict())],
        "pieces": (sum(pieces), sum(item.numel() for item in made.backbone.parameters())),
        "state": full_state(made.backbone),
    }
    return watch.seen | after


def gradients(made: ARModule, batch: Batch) -> dict[str, Tensor]:
    """Loss and gradients of a step, without a trainer."""
    loss, _, _ = made._loss(batch, [False] * len(batch["name"]))
    loss.backward()
    found = {name: item.grad.clone() for name, item in made.backbone.named_parameters() if item.grad is not None}
    made.backbone.zero_grad()
    return {"loss": loss.detach(), **found}


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    torch.compile = partial(torch.compile, backend="aot_eager")  # traced and differentiated, but no C++ compiler
    distributed.init_process_group("gloo")
    rank = distributed.get_rank()
    for name, plan in PLANS.items():
        torch.save(train(plan, rank, world_size()), folder / f"{name}_{rank}.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
