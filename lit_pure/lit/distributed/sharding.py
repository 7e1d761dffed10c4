"""How a backbone is made ready for training on one process or many, and how it is whole again for a while.

Knows blocks, embedding and head, torch's activation checkpointing, compiler and FSDP2 (`fully_shard`), and the default
process group. Knows nothing of batches, optimizers or files. Parameters keep their names whatever is done here.
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
"""What `selective` keeps: it takes most of the time, and all that lies between is quickly made again."""


def prepare(backbone: NextTokenBackbone, config: TrainerConfig, mesh: DeviceMesh | None) -> None:
    """Make a backbone ready to be trained, in place, once, before its optimizer is made.

    Where gradients are wanted, blocks compute their activations again and are compiled, as configured; decoding stays
    as it is. With a mesh of one dimension, parameters are cut into a piece for each of its processes (FSDP2): each
    block, embedding, head and what is left are gathered when they are needed and let go at once. With bf16-mixed they
    are gathered and computed with in bfloat16, gradients are summed in float32, and what is stored and optimized stays
    as it was. Parameters that are no floats (matrices in 4 bits) stay whole on every process.

    All processes have to hold the same parameters: nobody sends them.
    """
    ways: dict[str, TrainForward] = {"none": Block.compute, "block": _again, "selective": _mostly_again}
    learn = ways[config.activation_checkpointing]
    if config.compile:
        learn = torch.compile(learn)
    for block in _blocks(backbone):
        block.train_forward = learn
    if mesh is None:
        return
    mixed = config.precision == "bf16-mixed"
    # Inputs are not cast: angles and the labels' weights are float32 for a reason.
    precision = MixedPrecisionPolicy(torch.bfloat16 if mixed else None, torch.float32, cast_forward_inputs=False)
    left_whole = {item for item in backbone.parameters() if not item.is_floating_point()}
    for part in (*_blocks(backbone), backbone.embed, backbone.head, backbone):
        # Let go after every pass, the root too: between passes, all that is seen of a backbone are its pieces.
        fully_shard(part, mesh=mesh, reshard_after_forward=True, mp_policy=precision, ignored_params=left_whole)


@contextmanager
def whole(backbone: NextTokenBackbone) -> Iterator[None]:
    """All pieces are on every process, and no call waits for another process; afterwards the backbone is cut again.

    For passes whose number differs between processes. All processes have to enter; nothing may be trained or saved
    inside. Parameters are in the numbers that training computes with. A backbone that is not cut stays as it is.
    """
    parts = [module for module in backbone.modules() if isinstance(module, FSDPModule)]
    with torch.inference_mode(False), torch.no_grad():  # what is gathered here is trained with later
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
    """The state of a backbone, whole and on the CPU, on the first process; empty on the others. All have to call it.

    One parameter at a time is gathered, so that a device needs room for the largest one only.
    """
    state: dict[str, Tensor] = {}
    for name, item in backbone.state_dict().items():
        gathered = item.full_tensor() if isinstance(item, DTensor) else item
        if not distributed.is_initialized() or distributed.get_rank() == 0:
            state[name] = gathered.detach().cpu()
    return state


def processes() -> int:
    """How many train together."""
    return distributed.get_world_size() if distributed.is_initialized() else 1


def over_processes(part: Tensor) -> Tensor:
    """The sum over all processes, which all have to ask for it; without a gradient, on the tensor's device."""
    total = part.detach().clone()
    if distributed.is_initialized():
        distributed.all_reduce(total)
    return total


def _blocks(backbone: NextTokenBackbone) -> list[Block]:
    return [block for block in backbone.blocks if isinstance(block, Block)]


def _again(block: Block, x_BTD: Tensor, angles: Angles) -> Tensor:
    """Keeps what goes in, and computes the rest once more when it is needed."""
    found: Tensor = checkpoint(Block.compute, block, x_BTD, angles, use_reentrant=False)
    return found


def _mostly_again(block: Block, x_BTD: Tensor, angles: Angles) -> Tensor:
    """Keeps what goes in and the large products."""
    found: Tensor = checkpoint(Block.compute, block, x_BTD, angles, use_reentrant=False, context_fn=_keep_products)
    return found


_keep_products = partial(create_selective_checkpoint_contexts, PRODUCTS)
