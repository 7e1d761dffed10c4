"""Adapters trained on one process or on two: `torchrun adapters_on_two.py FOLDER`.

The first process writes FOLDER/KIND_HOW.pt: losses, gathered and merged weights, and logits found with the adapters.
"""

import sys
from pathlib import Path
from typing import Any

import torch
from torch import distributed, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.nn.parallel import DistributedDataParallel

from lit_pure.config.pure import AdapterConfig, BackboneConfig
from lit_pure.config.training import TrainerConfig
from lit_pure.lit.distributed.sharding import full_state, gathered, prepare
from lit_pure.models.adapters import insert_adapters, merged_state_dict, trainable_parameters
from lit_pure.models.next_token import NextTokenBackbone

SIZES = BackboneConfig(width=64, layers=2, heads=2, ffn=64, dropout=0.0)
ROWS, STEPS, BATCH = 40, 6, 4


def start() -> NextTokenBackbone:
    torch.manual_seed(0)
    return NextTokenBackbone(SIZES, ROWS)


def train(kind: Any, how: str, rank: int = 0, world: int = 1) -> dict[str, Any]:
    """A few steps on the same batch, of which each process has a part."""
    backbone = start()
    insert_adapters(backbone, AdapterConfig(kind=kind, rank=4), 0)
    mesh = init_device_mesh("cpu", (world,)) if how == "fsdp" else None
    settings = TrainerConfig(activation_checkpointing="block")  # what comes into a block wants no gradient
    prepare(backbone, settings, mesh)
    forward: nn.Module = DistributedDataParallel(backbone) if how == "ddp" else backbone
    optimizer = torch.optim.AdamW(trainable_parameters(backbone), lr=1e-2)
    ids_BT = torch.randint(ROWS, (BATCH, 9), generator=torch.Generator().manual_seed(1))
    mine_BT = ids_BT[rank * BATCH // world : (rank + 1) * BATCH // world]
    losses = []
    for _ in range(STEPS):
        hidden_BTD, labels_N = forward(mine_BT[:, :-1]), mine_BT[:, 1:].flatten()
        weight_N = torch.full(labels_N.shape, 1 / len(labels_N))
        loss, _ = backbone.head(hidden_BTD.flatten(0, 1), labels_N, weight_N, 8)
        loss.backward()
        nn.utils.clip_grad_norm_(trainable_parameters(backbone), 0.5)
        optimizer.step()
        optimizer.zero_grad()
        mean = loss.detach().clone()
        if world > 1:
            distributed.all_reduce(mean)
        losses.append(mean.item() / world)
    with gathered(backbone), torch.inference_mode():
        logits_BTV = backbone.logits(ids_BT)
    state = full_state(backbone)
    merged = merged_state_dict(backbone, state) if rank == 0 else {}
    return {"losses": losses, "merged": merged, "logits": logits_BTV}


if __name__ == "__main__":
    distributed.init_process_group("gloo")
    rank, world = distributed.get_rank(), distributed.get_world_size()
    for kind in ("lora", "qlora"):
        for how in ("fsdp", "ddp"):
            found = train(kind, how, rank, world)
            if rank == 0:
                torch.save(found, Path(sys.argv[1]) / f"{kind}_{how}.pt")
    distributed.destroy_process_group()
