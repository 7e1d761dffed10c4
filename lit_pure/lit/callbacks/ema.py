"""The exponential moving average of weights, which is validated, tested and kept in place of the last weights.

Knows the trained parameters of a LightningModule, sharded (DTensor) or not. Knows nothing of optimizers or files:
our strategies save its tensors from `shards`, others with its state.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import torch
from lightning import Callback, LightningModule, Trainer
from torch import Tensor
from torch.distributed.tensor import DTensor

from lit_pure.lit.distributed.strategies import FolderCheckpoints


class SkipsSteps(Protocol):
    """Knows whether the last optimizer step was skipped."""

    @property
    def skipped(self) -> bool: ...


class EMA(Callback):
    """An exponentially weighted mean of the weights after each optimizer step.

    After step t it is the mean of the weights after steps i = 1 ... t, with weights decay^(t - i). Unlike the plain
    recursion it does not contain the weights before the first step, which would be a good part of it in short runs.
    Skipped steps (`SkipsSteps`) are left out. Buffers, and parameters without a gradient, have no average.

    Each process averages its own shards, so nothing is sent. During validation and test, and inside `swapped`, weights
    and average are exchanged, which takes memory for one parameter. Then they are exchanged back, and both are the same
    as before, bit for bit.
    """

    shards_name = "ema"
    state_key = "Averaging"
    """Its name in checkpoints, which are older than the name of the class."""

    def __init__(self, decay: float, guard: SkipsSteps | None = None) -> None:
        self.decay, self.guard = decay, guard
        self._module: LightningModule | None = None
        self._averages: dict[str, Tensor] = {}
        self._loaded: dict[str, Tensor] = {}
        self._averaged = 0
        self._step = 0
        self._stands_alone = False
        """Whether nobody saves what `shards` gives: its state then holds it."""
        self._pairs: list[tuple[Tensor, Tensor]] = []
        """While the average is in place: the tensors of weights and average."""

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Keep the module; its parameters may still be sharded later."""
        self._module = pl_module
        self._stands_alone = not isinstance(trainer.strategy, FolderCheckpoints)

    def shards(self) -> dict[str, Tensor]:
        """Name of a trained parameter -> its average, float32, on the same device and sharded alike.

        They are saved, or loaded into. Before the first step they equal the weights.
        """
        assert not self._pairs, "the average is in place of the weights"
        if not self._averages:
            self._averages = {name: _copy(name, item) for name, item in self._trained().items()}
        return self._averages

    def state_dict(self) -> dict[str, Any]:
        """How many steps are in the average; and the average itself, where nobody saves it otherwise."""
        averages = {name: item.cpu() for name, item in self._averages.items()} if self._stands_alone else {}
        return {"averaged": self._averaged, **({"averages": averages} if averages else {})}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Set the number of steps in the average, and the average where the state holds it."""
        self._averaged = state_dict["averaged"]
        self._loaded = dict(state_dict.get("averages", {}))

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """A training starts or resumes."""
        for name, item in self.shards().items():
            if name in self._loaded:
                item.copy_(self._loaded[name])
        self._loaded = {}
        self._step = trainer.global_step

    @torch.no_grad()
    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Add the weights to the average, if this batch ended an optimizer step."""
        if trainer.global_step == self._step:
            return
        self._step = trainer.global_step
        if self.guard is not None and self.guard.skipped:
            return
        self._averaged += 1
        share = (1 - self.decay) / (1 - self.decay**self._averaged)
        averages, trained = self.shards(), self._trained()
        if trained:  # in one go: a GPU waits longer for each call than it takes for a small tensor
            shards = [_local(averages[name]) for name in trained]
            torch._foreach_lerp_(shards, [_local(item) for item in trained.values()], share)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Validate the average."""
        self._enter()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Training continues with the weights."""
        self._leave()

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Test the average."""
        self._enter()

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Put the weights back."""
        self._leave()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """After a failure, too, the weights are in the module again."""
        self._leave()

    @contextmanager
    def swapped(self) -> Iterator[None]:
        """Inside, the module holds the average instead of its weights. Without a training, nothing happens."""
        self._enter()
        try:
            yield
        finally:
            self._leave()

    def _enter(self) -> None:
        assert not self._pairs, "the average is in place already"
        if self._averages:
            # Kept for `_leave`: after an error the parameters may still be gathered, which are other tensors.
            self._pairs = [(_local(item), _local(self._averages[name])) for name, item in self._trained().items()]
            _exchange(self._pairs)

    def _leave(self) -> None:
        _exchange(self._pairs)
        self._pairs = []

    def _trained(self) -> dict[str, Tensor]:
        """The trained parameters; read again each time, since sharding replaces them."""
        assert self._module is not None, "Lightning calls `setup` first"
        return {name: item for name, item in self._module.named_parameters() if item.requires_grad}


@torch.no_grad()
def _exchange(pairs: list[tuple[Tensor, Tensor]]) -> None:
    """Exchange the contents of each pair of tensors."""
    for one, other in pairs:
        kept = one.clone()
        one.copy_(other)
        other.copy_(kept)


def _copy(name: str, item: Tensor) -> Tensor:
    """A copy. Raises ValueError for a dtype in which an average would not change."""
    if item.dtype != torch.float32:
        raise ValueError(
            f"optim.ema averages weights that are stored in float32, and {name} is {item.dtype}: "
            "set trainer.precision=bf16-mixed, which stores float32, or optim.ema=0"
        )
    return item.detach().clone()


def _local(item: Tensor) -> Tensor:
    """The shard of this process, not copied."""
    return item.to_local() if isinstance(item, DTensor) else item
