"""Prepares a network for training on one process or many, and gathers its shards for a while.

Knows blocks, and which modules a network names as `units`; torch's activation checkpointing, compiler and FSDP2
(`fully_shard`), and the default process group. Knows nothing of batches, optimizers or files. Parameters always keep
their names.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, Protocol

import torch
from torch import Tensor, distributed, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor
from torch.utils.checkpoint import checkpoint, create_selective_checkpoint_contexts

from lit_pure.config.training import TrainerConfig
from lit_pure.models.blocks import Block
from lit_pure.models.next_scale_blocks import ScaleBlock

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


class Network(Protocol):
    """A network that can be cut into pieces."""

    def units(self) -> list[nn.Module]:
        """The modules whose weights are gathered together; each after what it contains."""

    def modules(self) -> Iterator[nn.Module]: ...

    def parameters(self) -> Iterator[nn.Parameter]: ...


def prepare(network: Network, config: TrainerConfig, mesh: DeviceMesh | None) -> None:
    """Prepare a network for training, in place, once, before its optimizer is made.

    Where gradients are needed, blocks recompute their activations and are compiled, as configured; decoding stays as it
    is. With a mesh of one dimension, parameters are sharded over its processes (FSDP2): each of the network's units is
    gathered when it is needed, and resharded at once. With bf16-mixed they are gathered and used in
    bfloat16, gradients are summed in float32, and stored parameters and optimizer states keep their dtype. Parameters
    that are not floats (matrices in 4 bits) stay whole on every process.

    All processes must hold the same parameters: nothing is broadcast.
    """
    forwards: dict[str, Callable[..., Tensor]] = {
        "none": _computed,
        "block": _checkpointed,
        "selective": _checkpointed_selectively,
    }
    train_forward = forwards[config.activation_checkpointing]
    if config.compile:
        train_forward = torch.compile(train_forward)
    for block in network.modules():
        if isinstance(block, Block | ScaleBlock):
            block.train_forward = train_forward
    if mesh is None:
        return
    mixed = config.precision == "bf16-mixed"
    # Inputs are not cast: angles and the labels' weights must stay float32.
    precision = MixedPrecisionPolicy(torch.bfloat16 if mixed else None, torch.float32, cast_forward_inputs=False)
    unsharded = {item for item in network.parameters() if not item.is_floating_point()}
    for part in network.units():
        # A root is resharded after every pass, too, so that between passes only shards are visible.
        fully_shard(part, mesh=mesh, reshard_after_forward=True, mp_policy=precision, ignored_params=unsharded)


@contextmanager
def gathered(network: nn.Module) -> Iterator[None]:
    """Inside, every process has all parameters and no call waits for another process; afterwards they are resharded.

    For passes whose number differs between processes. All processes must enter; nothing may be trained or saved inside.
    Parameters have the dtype in which training computes. A network that is not sharded stays as it is.
    """
    parts = [module for module in network.modules() if isinstance(module, FSDPModule)]
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


def full_state(network: nn.Module) -> dict[str, Tensor]:
    """The full state dict of a network on the CPU of the first process; empty on the others. All must call it.

    Parameters are gathered one at a time, so that a device needs memory for the largest one only.
    """
    state: dict[str, Tensor] = {}
    for name, item in network.state_dict().items():
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


def _computed(block: Block | ScaleBlock, x_BTD: Tensor, shared: Any) -> Tensor:
    """Keeps all that the backward pass needs; `shared` is what all blocks of a pass share."""
    return type(block).compute(block, x_BTD, shared)  # type: ignore[arg-type]


def _checkpointed(block: Block | ScaleBlock, x_BTD: Tensor, shared: Any) -> Tensor:
    """Keeps the inputs and recomputes the rest."""
    y_BTD: Tensor = checkpoint(_computed, block, x_BTD, shared, use_reentrant=False)
    return y_BTD


def _checkpointed_selectively(block: Block | ScaleBlock, x_BTD: Tensor, shared: Any) -> Tensor:
    """Keeps the inputs and the large products, and recomputes the rest."""
    y_BTD: Tensor = checkpoint(_computed, block, x_BTD, shared, use_reentrant=False, context_fn=_keep_products)
    return y_BTD


_keep_products = partial(create_selective_checkpoint_contexts, PRODUCTS)
