"""The optimizer and its schedule, shared by all LightningModules.

Knows AdamW with linear warm-up and cosine decay (paper section 4.1). Knows nothing of what is trained.
"""

import math
from collections.abc import Iterable

from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import nn
from torch.optim import AdamW
from torch.optim.lr_scheduler import LambdaLR

from lit_pure.config.schema import OptimConfig


def learning_rate(step: int, max_steps: int, config: OptimConfig) -> float:
    """The learning rate of a step: linear from 0 to `lr` over the warm-up, then half a cosine down to `min_lr`."""
    warmup = config.warmup * max_steps
    if step < warmup:
        return config.lr * (step + 1) / (warmup + 1)
    progress = min(1.0, (step - warmup) / max(1.0, max_steps - warmup))
    return config.min_lr + (config.lr - config.min_lr) * (1 + math.cos(math.pi * progress)) / 2


def configure(parameters: Iterable[nn.Parameter], config: OptimConfig, max_steps: int) -> OptimizerLRSchedulerConfig:
    """AdamW and its schedule, stepped once per optimizer step, as Lightning takes them."""
    optimizer = AdamW(parameters, lr=config.lr, betas=config.betas, eps=config.eps, weight_decay=config.weight_decay)
    schedule = LambdaLR(optimizer, lambda step: learning_rate(step, max_steps, config) / config.lr)
    return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}
