"""The knobs of training: optimizer, schedule, and arguments of Lightning's Trainer.

Knows names, types, defaults and legal ranges (`knob`), and which knobs make a run a debug run; the defaults are the
paper's if it has a number. Imports no torch.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from lit_pure.config.calls import Call, parse_call
from lit_pure.config.knobs import Problem, knob

LoggerName = Literal["tensorboard", "csv", "wandb", "mlflow"]
"""Where curves go; the rows of `lit/loggers.py`."""
DEBUG = (
    "fast_dev_run",
    "overfit_batches",
    "limit_train_batches",
    "limit_val_batches",
    "limit_test_batches",
    "limit_predict_batches",
    "profiler",
    "detect_anomaly",
)
"""The rule: where one of these differs from its default, the run is a debug run, for its weights, figures or speed are
not those of the experiment. It never counts as finished, saves no checkpoint, and is in a folder of its own."""
DURATION = re.compile(r"\d+:[0-2]\d:[0-5]\d:[0-5]\d")


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
    """Optimizer steps; the learning rate comes down over them."""
    max_epochs: int = knob(0, low=0)
    """Passes over the training set, if they are fewer steps than `max_steps`; 0: no limit."""
    max_time: str = ""
    """Time of training, all launches together, as DD:HH:MM:SS: it ends after the step in which it is over, and is then
    finished; empty: no limit."""
    min_steps: int = knob(0, low=0)
    """Optimizer steps before `max_time`, or a callback, may end the training."""
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
    """Largest global norm of the gradient, or largest element; 0: no clipping."""
    gradient_clip_algorithm: Literal["norm", "value"] = "norm"
    """What `gradient_clip` limits: the global norm, or the absolute value of each element."""
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
    deterministic: bool = False
    """Whether torch may only use operations that give the same bits each time."""
    benchmark: bool = False
    """Whether cuDNN tries its algorithms for each new size, and takes the fastest."""
    sync_batchnorm: bool = False
    """Whether batch norms have the statistics of all processes, not those of their own (GPUs)."""
    num_sanity_val_steps: int = knob(0, low=0)
    """Validation batches before the first step, which are not logged."""
    enable_progress_bar: bool = True
    """Whether progress is shown: rich's bar where it is installed, else tqdm's; lines where there is no terminal."""
    loggers: list[LoggerName] = knob(["tensorboard", "csv"])
    """Where curves go, all of them files in the run folder; wandb and mlflow are extras, and write offline."""
    callbacks: list[str] = knob([])
    """More callbacks, each as the call that makes it: package.module.Class(argument=value), with plain values."""
    fast_dev_run: int = knob(0, low=0)
    """Batches of training, validation and test, and then the end; 0: all."""
    overfit_batches: int = knob(0, low=0)
    """Training batches that come again and again; validation takes as many. 0: all."""
    limit_train_batches: int = knob(-1, low=-1)
    """Training batches of an epoch, which begins anew with the first one; -1: no end."""
    limit_val_batches: int = knob(-1, low=-1)
    """Batches of a validation; -1: all."""
    limit_test_batches: int = knob(-1, low=-1)
    """Batches of each test set; -1: all."""
    limit_predict_batches: int = knob(-1, low=-1)
    """Batches of a prediction; -1: all."""
    profiler: Literal["none", "simple", "advanced", "pytorch"] = "none"
    """Times hooks, functions or operations, into files of the run folder named after the stage and `profile`."""
    detect_anomaly: bool = False
    """Whether torch names the operation whose gradient is NaN; slow."""
    peak_flops: float = knob(0.0, low=0)
    """Peak of one device in that precision [FLOP/s], for train/mfu; 0: Lightning's value, which is missing for some."""

    def debugging(self) -> list[str]:
        """The knobs of `DEBUG` that are set, each as "trainer.KNOB"; empty in a run that counts."""
        return [f"trainer.{name}" for name in DEBUG if getattr(self, name) != getattr(TrainerConfig, name)]

    def called(self) -> list[Call]:
        """The callbacks. Raises ValueError for one that is no call with plain values."""
        return [parse_call(words) for words in self.callbacks]

    def problems(self) -> Iterator[Problem]:
        if self.strategy == "fsdp" and self.precision == "16-mixed":
            yield "precision", "= 16-mixed does not go with strategy fsdp; take bf16-mixed"
        if self.max_time and not DURATION.fullmatch(self.max_time):
            yield "max_time", f"= {self.max_time}: write DD:HH:MM:SS, for example 00:12:00:00 for twelve hours"
        if self.min_steps > self.max_steps:
            yield "min_steps", f"= {self.min_steps} is above max_steps = {self.max_steps}; use that or less"
        if twice := sorted({name for name in self.loggers if self.loggers.count(name) > 1}):
            yield "loggers", f"= {self.loggers}: {twice[0]} stands there twice"
        try:
            self.called()
        except ValueError as error:
            yield "callbacks", f"= {error}"
