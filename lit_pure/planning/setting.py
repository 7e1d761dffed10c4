"""What the memory of a training step depends on, and in how many bytes its numbers are kept.

Knows precisions, what autocast and FSDP make of them, and in what torch's kernels for CUDA and for a CPU differ. Knows
no tensor (`blocks.py`, `weights.py`, `head.py`, `pictures.py`) and no sum (`memory.py`).
"""

from dataclasses import dataclass

from lit_pure.config.dem import DemConfig
from lit_pure.config.pure import AdapterConfig, BackboneConfig, SamplingConfig
from lit_pure.config.tokenizer import VQConfig
from lit_pure.config.training import OptimConfig, TrainerConfig

FLOAT32 = 4
"""Bytes."""


@dataclass(frozen=True)
class Kernels:
    """In what torch's kernels differ between devices, as far as memory goes (torch 2.12; 2.11 takes less on CUDA)."""

    fused_norm: bool
    """RMSNorm is one kernel, which keeps its input; else it is composed, and keeps its float32 input and quotient."""
    norms_cast: bool
    """Autocast lets norms compute, and give, float32."""
    mask: int
    """Bytes of a number of dropout's mask; 0: those of the numbers that it masks."""
    foreach: bool
    """AdamW takes the square roots of all second moments at once where parameters are not cut; else one by one."""


CUDA = Kernels(fused_norm=True, norms_cast=True, mask=1, foreach=True)
CPU = Kernels(fused_norm=False, norms_cast=False, mask=0, foreach=False)


@dataclass(frozen=True)
class Numbers:
    """Bytes of a number, by what it is for."""

    stored: int
    """Parameters; gradients and AdamW's moments have the same."""
    product: int
    """What products of matrices and attention take and give."""
    stream: int
    """What goes from block to block."""
    head: int
    """What the products of the head take and give: under float16 they stay in float32."""
    cast: bool
    """Autocast: each product makes its own copy of what comes in other numbers, weights included."""

    def norm(self, kernels: Kernels) -> int:
        """What a norm of the stream computes in and gives."""
        return FLOAT32 if self.cast and kernels.norms_cast else self.stream

    def head_norm(self, kernels: Kernels) -> int:
        """What the norms of queries and keys take and give."""
        return FLOAT32 if self.cast and kernels.norms_cast else self.product


@dataclass(frozen=True)
class Setting:
    """All that the memory of one process of a training depends on."""

    backbone: BackboneConfig
    optim: OptimConfig
    adapter: AdapterConfig
    trainer: TrainerConfig
    sampling: SamplingConfig
    vq: VQConfig
    dem: DemConfig | None
    vocabulary: int
    """Rows of embedding and head."""
    size: int
    """Side of a picture [px]."""
    scale: int
    """How many times a side is enlarged."""
    enlarged: float
    """How much larger than the picture degradation may make it on the way, by side."""
    dem_tile: int
    """Side of the LQ tiles that the estimator scores [px]."""
    image: int
    """Positions of an image."""
    prompt: int
    """Positions of a prompt."""
    length: int
    """Positions of the longest sample."""
    labels: int
    """Positions of it that are learned."""
    batch: int
    """Samples of a process at one time."""
    shown: int
    """Pictures decoded at once in a validation."""
    tested: int
    """Pictures decoded at once in the test; 0 without test sets."""
    gpus: int
    frozen: int = 2
    """Bytes of a frozen number beneath adapters."""
    kernels: Kernels = CUDA
    notes: tuple[str, ...] = ()
    """What had to be assumed, in sentences."""

    @property
    def positions(self) -> int:
        """Positions of a micro-batch, in which all samples are as long as the longest may be."""
        return self.batch * self.length

    @property
    def sharded(self) -> bool:
        """Whether each process has a piece of the backbone."""
        return self.trainer.strategy == "fsdp"

    @property
    def replicated(self) -> bool:
        """Whether several processes have a copy each."""
        return not self.sharded and self.gpus > 1

    @property
    def adapted(self) -> bool:
        """Whether adapters alone are trained."""
        return self.adapter.kind != "none"

    @property
    def targets(self) -> list[str]:
        """The matrices of a block that have an adapter."""
        return sorted(set(self.adapter.projections)) if self.adapted else []

    @property
    def numbers(self) -> Numbers:
        """Bytes of this setting's numbers."""
        precision = self.trainer.precision
        if precision == "32-true":
            return Numbers(4, 4, 4, head=self.frozen if self.adapted else 4, cast=False)
        if precision == "bf16-true":
            return Numbers(2, 2, 2, head=2, cast=False)
        bfloat16 = precision == "bf16-mixed"
        # The stream has the embedding's numbers: those that FSDP gathers, or frozen ones.
        narrow = (self.sharded and bfloat16) or (self.adapted and self.frozen == 2)
        return Numbers(4, 2, 2 if narrow else 4, head=2 if bfloat16 else 4, cast=True)

    @property
    def copies_head(self) -> bool:
        """Whether the loss makes a copy of the head's weights in other numbers."""
        weights = self.frozen if self.adapted else 2 if self.sharded and self.numbers.head == 2 else self.numbers.stored
        return weights != self.numbers.head
