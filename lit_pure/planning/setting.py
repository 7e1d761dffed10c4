"""What the memory of a training step depends on, and how many bytes an element of each tensor has.

Knows precisions, how autocast and FSDP change them, and how torch's kernels for CUDA and for a CPU differ. Knows
no tensor (`blocks.py`, `weights.py`, `head.py`, `pictures.py`) and no sum (`memory.py`).
"""

from dataclasses import dataclass, replace
from typing import ClassVar

from lit_pure.config.dem import DemConfig
from lit_pure.config.pure import AdapterConfig, BackboneConfig, SamplingConfig
from lit_pure.config.tokenizer import VQConfig
from lit_pure.config.training import OptimConfig, TrainerConfig

FLOAT32 = 4
"""Bytes."""


@dataclass(frozen=True)
class Kernels:
    """How the memory of torch's kernels differs between devices (torch 2.12; 2.11 takes less on CUDA)."""

    fused_norm: bool
    """RMSNorm is one kernel that saves its input; else it is composed, and saves its float32 input and quotient."""
    norms_cast: bool
    """Autocast lets norms compute and return float32."""
    mask: int
    """Bytes per element of dropout's mask; 0: as many as the masked tensor has."""
    foreach: bool
    """AdamW takes the square roots of all second moments at once if parameters are not sharded; else one by one."""


CUDA = Kernels(fused_norm=True, norms_cast=True, mask=1, foreach=True)
CPU = Kernels(fused_norm=False, norms_cast=False, mask=0, foreach=False)


@dataclass(frozen=True)
class ItemSizes:
    """Bytes per element, by kind of tensor."""

    stored: int
    """Parameters, gradients and AdamW's moments."""
    product: int
    """Inputs and outputs of matrix products and attention."""
    stream: int
    """The residual stream between blocks."""
    head: int
    """Inputs and outputs of the head's products: under float16 they stay in float32."""
    cast: bool
    """Autocast is on: each product makes its own copy of inputs of another dtype, weights included."""

    def norm(self, kernels: Kernels) -> int:
        """What a norm of the stream computes in and returns."""
        return FLOAT32 if self.cast and kernels.norms_cast else self.stream

    def head_norm(self, kernels: Kernels) -> int:
        """Inputs and outputs of the norms of queries and keys."""
        return FLOAT32 if self.cast and kernels.norms_cast else self.product


def item_sizes(precision: str, narrow: bool) -> ItemSizes:
    """Bytes per element under `trainer.precision`; `narrow`: with autocast, the stream is of 2 bytes."""
    if precision == "32-true":
        return ItemSizes(4, 4, 4, head=4, cast=False)
    if precision == "bf16-true":
        return ItemSizes(2, 2, 2, head=2, cast=False)
    return ItemSizes(4, 2, 2 if narrow else 4, head=2 if precision == "bf16-mixed" else 4, cast=True)


@dataclass(frozen=True)
class Setting:
    """Everything that the memory of one training process depends on."""

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
    """How much longer than the picture's side an intermediate picture of the degradation may be, as a factor."""
    dem_tile: int
    """Side of the LQ tiles that the estimator scores [px]."""
    image: int
    """Positions of an image."""
    prompt: int
    """Positions of a prompt."""
    length: int
    """Positions of the longest sample."""
    labels: int
    """Positions of it that the loss uses."""
    batch: int
    """Samples of a micro-batch in one process."""
    shown: int
    """Pictures decoded at once in a validation."""
    tested: int
    """Pictures decoded at once in the test; 0 without test sets."""
    gpus: int
    frozen: int = 2
    """Bytes per element of frozen weights beneath adapters."""
    kernels: Kernels = CUDA
    notes: tuple[str, ...] = ()
    """Assumptions that had to be made, in sentences."""

    outputs: ClassVar[str] = "ids"
    trained: ClassVar[str] = "backbone"

    @property
    def positions(self) -> int:
        """Positions of a micro-batch whose samples all have the greatest length."""
        return self.batch * self.length

    @property
    def sharded(self) -> bool:
        """Whether each process has a shard of the backbone."""
        return self.trainer.strategy == "fsdp"

    @property
    def replicated(self) -> bool:
        """Whether several processes have a copy of the backbone each."""
        return not self.sharded and self.gpus > 1

    @property
    def adapted(self) -> bool:
        """Whether only adapters are trained."""
        return self.adapter.kind != "none"

    @property
    def targets(self) -> list[str]:
        """The matrices of a block that have an adapter."""
        return sorted(set(self.adapter.projections)) if self.adapted else []

    @property
    def itemsizes(self) -> ItemSizes:
        """Bytes per element under this setting."""
        # The stream has the dtype of the embedding: the one that FSDP gathers, or that of frozen weights.
        precision = self.trainer.precision
        gathered = self.sharded and precision == "bf16-mixed"
        found = item_sizes(precision, gathered or (self.adapted and self.frozen == 2))
        return replace(found, head=self.frozen) if self.adapted and precision == "32-true" else found

    @property
    def copies_head(self) -> bool:
        """Whether the loss makes a copy of the head's weights in another dtype."""
        weights = (
            self.frozen if self.adapted else 2 if self.sharded and self.itemsizes.head == 2 else self.itemsizes.stored
        )
        return weights != self.itemsizes.head
