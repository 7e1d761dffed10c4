"""Prepares a backbone for training on one process or many, and gathers its shards for a while.

Knows blocks, embedding and head, torch's activation checkpointing, compiler and FSDP2 (`fully_shard`), and the default
process group. Knows nothing of batches, optimizers or files. Parameters always keep their names.
"""

from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, distributed
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor
from torch.utils.checkpoint import checkpoint, create_selective_checkpoint_contexts

from lit_pure.config.training import TrainerConfig
from lit_pure.models.blocks import Angles, Block, TrainForward
from lit_pure.models.next_token import NextTokenBackbone

aten = torch.ops.aten
PRODUCTS: list[Any] = [
    aten.mm.default,
    aten.addmm.default,
    aten._scaled_dot_product_flash_attention_for_cpu.default,
    aten._scaled_dot_product_flash_attention.default,
    aten._scaled_dot_product_efficient_attention.default,
    aten._scaled_dot_product_cudnn_attention.default,
]
"""What `selective` keeps: these operations take most of the time, and all between them is quickly recomputed."""


def prepare(backbone: NextTokenBackbone, config: TrainerConfig, mesh: DeviceMesh | None) -> None:
    """Prepare a backbone for training, in place, once, before its optimizer is made.

    Where gradients are needed, blocks recompute their activations and are compiled, as configured; decoding stays as it
    is. With a mesh of one dimension, parameters are sharded over its processes (FSDP2): each block, embedding, head and
    the rest are gathered when they are needed, and resharded at once. With bf16-mixed they are gathered and used in
    bfloat16, gradients are summed in float32, and stored parameters and optimizer states keep their dtype. Parameters
    that are not floats (matrices in 4 bits) stay whole on every process.

    All processes must hold the same parameters: nothing is broadcast.
    """
    forwards: dict[str, TrainForward] = {
        "none": Block.compute,
        "block": _checkpointed,
        "selective": _checkpointed_selectively,
    }
    train_forward = forwards[config.activation_checkpointing]
    if config.compile:
        train_forward = torch.compile(train_forward)
    for block in _blocks(backbone):
        block.train_forward = train_forward
    if mesh is None:
        return
    mixed = config.precision == "bf16-mixed"
    # Inputs are not cast: angles and the labels' weights must stay float32.
    precision = MixedPrecisionPolicy(torch.bfloat16 if mixed else None, torch.float32, cast_forward_inputs=False)
    unsharded = {item for item in backbone.parameters() if not item.is_floating_point()}
    for part in (*_blocks(backbone), backbone.embed, backbone.head, backbone):
        # The root is resharded after every pass, too, so that between passes only shards are visible.
        fully_shard(part, mesh=mesh, reshard_after_forward=True, mp_policy=precision, ignored_params=unsharded)


@contextmanager
def gathered(backbone: NextTokenBackbone) -> Iterator[None]:
    """Inside, every process has all parameters and no call waits for another process; afterwards they are resharded.

    For passes whose number differs between processes. All processes must enter; nothing may be trained or saved inside.
    Parameters have the dtype in which training computes. A backbone that is not sharded stays as it is.
    """
    parts = [module for module in backbone.modules() if isinstance(module, FSDPModule)]
    with torch.inference_mode(False), torch.no_grad():  # training uses these tensors later
        for part in parts:
            part.unshard()
    hooks = [(part._forward_pre_hooks, part._forward_hooks) for part in parts]
    for part in parts:
        part._forward_pre_hooks, part._forward_hooks = OrderedDict(), OrderedDict()
    try:
        yield
    finally:
        for part, (before, after) in zip(parts, hooks, strict=True):
            part._forward_pre_hooks, part._forward_hooks = before, after
            part.reshard()


def full_state(backbone: NextTokenBackbone) -> dict[str, Tensor]:
    """The full state dict of a backbone on the CPU of the first process; empty on the others. All must call it.

    Parameters are gathered one at a time, so that a device needs memory for the largest one only.
    """
    state: dict[str, Tensor] = {}
    for name, item in backbone.state_dict().items():
        full = item.full_tensor() if isinstance(item, DTensor) else item
        if not distributed.is_initialized() or distributed.get_rank() == 0:
            state[name] = full.detach().cpu()
    return state


def world_size() -> int:
    """The number of processes that train together."""
    return distributed.get_world_size() if distributed.is_initialized() else 1


def sum_over_processes(part: Tensor) -> Tensor:
    """The sum over all processes, on the tensor's device and without a gradient. All must call it."""
    total = part.detach().clone()
    if distributed.is_initialized():
        distributed.all_reduce(total)
    return total


def _blocks(backbone: NextTokenBackbone) -> list[Block]:
    return [block for block in backbone.blocks if isinstance(block, Block)]


def _checkpointed(block: Block, x_BTD: Tensor, angles: Angles) -> Tensor:
    """Keeps the inputs and recomputes the rest."""
    y_BTD: Tensor = checkpoint(Block.compute, block, x_BTD, angles, use_reentrant=False)
    return y_BTD


def _checkpointed_selectively(block: Block, x_BTD: Tensor, angles: Angles) -> Tensor:
    """Keeps the inputs and the large products, and recomputes the rest."""
    y_BTD: Tensor = checkpoint(Block.compute, block, x_BTD, angles, use_reentrant=False, context_fn=_keep_products)
    return y_BTD


_keep_products = partial(create_selective_checkpoint_contexts, PRODUCTS)
