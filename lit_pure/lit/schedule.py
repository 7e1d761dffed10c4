"""The optimizer and its schedule, for all LightningModules.

Knows AdamW, perhaps with 8-bit moments, linear warm-up and cosine decay (paper section 4.1). Knows nothing of what is
trained.
"""

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import nn
from torch._functorch import config as functorch_config
from torch.optim import AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR

from lit_pure.config.training import OptimConfig


def learning_rate(step: int, max_steps: int, config: OptimConfig) -> float:
    """The learning rate of a step: linear from 0 to `lr` during warm-up, then half a cosine down to `min_lr`."""
    warmup = config.warmup * max_steps
    if step < warmup:
        return config.lr * (step + 1) / (warmup + 1)
    progress = min(1.0, (step - warmup) / max(1.0, max_steps - warmup))
    return config.min_lr + (config.lr - config.min_lr) * (1 + math.cos(math.pi * progress)) / 2


def configure(
    parameters: Iterable[nn.Parameter],
    config: OptimConfig,
    max_steps: int,
    undecayed: Iterable[nn.Parameter] = (),
) -> OptimizerLRSchedulerConfig:
    """AdamW and its schedule, which advances once per optimizer step, in Lightning's form.

    Parameters without a gradient are left out. `undecayed` are those, among them, without weight decay. Raises
    ValueError if 8 bits are asked for, and torchao or a compiler is missing.
    """
    trained = [parameter for parameter in parameters if parameter.requires_grad]
    make = AdamW if config.states == "float32" else _adamw_8bit(trained)
    free = {id(parameter) for parameter in undecayed}
    groups: list[dict[str, Any]] = [{"params": [parameter for parameter in trained if id(parameter) not in free]}]
    if rest := [parameter for parameter in trained if id(parameter) in free]:
        groups.append({"params": rest, "weight_decay": 0.0})
    optimizer = make(groups, lr=config.lr, betas=config.betas, eps=config.eps, weight_decay=config.weight_decay)
    schedule = LambdaLR(optimizer, lambda step: learning_rate(step, max_steps, config) / config.lr)
    return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def _adamw_8bit(trained: list[nn.Parameter]) -> Callable[..., Optimizer]:
    """torchao's AdamW: one scale for 256 numbers of a moment (arXiv 2110.02861), and steps computed in float32.

    Moments of parameters with fewer than 4096 numbers, or without a multiple of 256 on a process, stay in float32. The
    step is compiled once for each shape of a parameter.
    """
    try:
        from torchao.optim import AdamW8bit
    except ImportError as error:
        raise ValueError(
            f"optim.states=8bit needs torchao ({error}): pip install 'lit_pure[quantize]', or set optim.states=float32"
        ) from error
    # Torch's cache of traced steps ignores the size of a process's shard: of two processes with 65 and 64 rows, one
    # would get the step of the other and fail.
    functorch_config.enable_autograd_cache = False
    device = trained[0].device if trained else torch.device("cpu")
    try:
        torch.compile(torch.neg)(torch.zeros(1, device=device))
    except Exception as error:  # torch raises errors of several kinds
        raise ValueError(
            f"optim.states=8bit compiles its step, and torch cannot compile for {device.type} here "
            f"({str(error).splitlines()[0]}): install a C++ compiler such as g++, or set optim.states=float32"
        ) from error
    made: Callable[..., Optimizer] = AdamW8bit
    return made
