"""The knobs of training: optimizer, schedule, and arguments of Lightning's Trainer.

Knows names, types, defaults and legal ranges (`knob`); the defaults are the paper's if it has a number. Imports no
torch.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from lit_pure.config.knobs import Problem, knob


@dataclass
class OptimConfig:
    """AdamW with linear warm-up and cosine decay (paper section 4.1; betas and decay as in the official training)."""

    lr: float = knob(4e-4, above=0, high=1)
    """Peak learning rate."""
    min_lr: float = knob(0.0, low=0, high=1)
    """Learning rate at the last step."""
    warmup: float = knob(0.25, low=0, high=1)
    """Share of `trainer.max_steps` for warm-up (the paper: 0.5 of 2 epochs)."""
    betas: tuple[float, float] = knob((0.9, 0.95), low=0, high=0.99999)
    """Decay of AdamW's first and second moments."""
    eps: float = knob(1e-8, above=0, high=1)
    """AdamW's epsilon."""
    weight_decay: float = knob(0.1, low=0, high=1)
    """Decoupled weight decay, on all parameters as in the official training."""
    states: Literal["float32", "8bit"] = "float32"
    """Dtype of AdamW's moments; `8bit` takes a quarter of the memory (torchao)."""
    ema: float = knob(0.0, low=0, high=0.999999)
    """Decay per step of the average of weights, which is validated, tested and kept; 0 keeps the last weights."""


@dataclass
class TrainerConfig:
    """Arguments of Lightning's Trainer, and of our callbacks."""

    max_steps: int = knob(1484, low=1)
    """Optimizer steps."""
    val_every: int = knob(500, low=1)
    """Steps between validations."""
    log_every: int = knob(10, low=1)
    """Steps between log entries."""
    save_every: int = knob(0, low=0)
    """Steps between checkpoints; 0 saves at each validation."""
    keep_last: int = knob(2, low=1)
    """Number of newest checkpoints to keep."""
    keep_best: int = knob(1, low=0)
    """Number of checkpoints with the lowest val/loss to keep besides."""
    resume: str = "auto"
    """`auto` resumes the newest unfinished run with these settings, `never` none, NAME/version_N that run."""
    accumulate: int = knob(1, low=1)
    """Batches per optimizer step."""
    gradient_clip: float = knob(4.0, low=0)
    """Largest global norm of the gradient; 0: no clipping."""
    max_skipped: int = knob(10, low=1)
    """Steps whose loss or gradient is not finite are skipped; after this many in a row, training stops."""
    accelerator: str = "auto"
    """Lightning's accelerator: auto, cpu, gpu, mps."""
    devices: str = "auto"
    """Lightning's devices: auto, a count, or a list such as "0,1"."""
    num_nodes: int = knob(1, low=1)
    """Machines."""
    strategy: Literal["auto", "ddp", "fsdp"] = "auto"
    """`fsdp` shards the backbone over processes; `ddp` gives each a copy; `auto` is ddp on several devices."""
    timeout: float = knob(1800.0, above=0)
    """How long a process waits for the others before it gives up [s]."""
    activation_checkpointing: Literal["none", "block", "selective"] = "none"
    """What the backward pass recomputes: nothing, whole blocks, or everything except the large matrix products."""
    compile: bool = False
    """Whether torch compiles the blocks."""
    precision: Literal["32-true", "bf16-mixed", "bf16-true", "16-mixed"] = "32-true"
    """Precision of Lightning; with fsdp, bf16-mixed gathers and computes in bfloat16 and keeps float32 weights."""
    peak_flops: float = knob(0.0, low=0)
    """Peak of one device in that precision [FLOP/s], for train/mfu; 0: Lightning's value, which is missing for some."""

    def problems(self) -> Iterator[Problem]:
        if self.strategy == "fsdp" and self.precision == "16-mixed":
            yield "precision", "= 16-mixed does not go with strategy fsdp; take bf16-mixed"
