"""The average of weights over training, which is validated, tested and kept in place of the last ones.

Knows the trained parameters of a LightningModule, whole or cut into pieces (DTensor). Knows nothing of optimizers or
files: who saves asks `shards`.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import torch
from lightning import Callback, LightningModule, Trainer
from torch import Tensor
from torch.distributed.tensor import DTensor


class Skips(Protocol):
    """Who knows whether the last optimizer step was left out."""

    @property
    def skipped(self) -> bool: ...


class Averaging(Callback):
    """An exponentially weighted mean of the weights after each optimizer step.

    After step t it is the mean of the weights after steps i = 1 ... t, each weighing decay^(t - i): unlike the plain
    recursion it does not remember the weights before the first step, which would be a good part of it in short runs.
    Steps that changed nothing (`Skips`) are left out. Buffers, and parameters that want no gradient, have no average.

    Each process averages the pieces that it holds, so nothing is sent. While validation and test run, and inside
    `swapped`, weights and average change places, which takes room for one parameter; then they change back, and both
    are what they were, bit for bit.
    """

    shards_name = "ema"

    def __init__(self, decay: float, guard: Skips | None = None) -> None:
        self.decay, self.guard = decay, guard
        self._module: LightningModule | None = None
        self._averages: dict[str, Tensor] = {}
        self._averaged = 0
        self._step = 0
        self._pairs: list[tuple[Tensor, Tensor]] = []
        """While the average is in place: what belongs to the weights, and to it."""

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Know the module; its parameters may still be cut into pieces."""
        self._module = pl_module

    def shards(self) -> dict[str, Tensor]:
        """Name of a trained parameter -> its average, float32, placed and cut as that is; to be saved or loaded into.

        Before the first step these are the weights themselves.
        """
        assert not self._pairs, "the average stands where the weights belong"
        if not self._averages:
            self._averages = {name: _copy(name, item) for name, item in self._trained().items()}
        return self._averages

    def state_dict(self) -> dict[str, Any]:
        """How many steps are in the average."""
        return {"averaged": self._averaged}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """What `state_dict` gave."""
        self._averaged = state_dict["averaged"]

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """A training begins or goes on."""
        self.shards()
        self._step = trainer.global_step

    @torch.no_grad()
    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Take the weights in, if this batch was the last of an optimizer step."""
        if trainer.global_step == self._step:
            return
        self._step = trainer.global_step
        if self.guard is not None and self.guard.skipped:
            return
        self._averaged += 1
        share = (1 - self.decay) / (1 - self.decay**self._averaged)
        averages = self.shards()
        for name, item in self._trained().items():
            _local(averages[name]).lerp_(_local(item), share)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """The average is validated."""
        self._enter()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Training goes on with the weights."""
        self._leave()

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """The average is tested."""
        self._enter()

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """The weights are back."""
        self._leave()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Who is asked after a failure finds the weights where they belong."""
        self._leave()

    @contextmanager
    def swapped(self) -> Iterator[None]:
        """The module holds the average instead of its weights. Nothing happens where nothing was trained."""
        self._enter()
        try:
            yield
        finally:
            self._leave()

    def _enter(self) -> None:
        assert not self._pairs, "the average is in place already"
        if self._averages:
            # Remembered, since an error may come while the parameters are gathered, which are others.
            self._pairs = [(_local(item), _local(self._averages[name])) for name, item in self._trained().items()]
            _exchange(self._pairs)

    def _leave(self) -> None:
        _exchange(self._pairs)
        self._pairs = []

    def _trained(self) -> dict[str, Tensor]:
        """Asked for anew each time: sharding puts other parameters in place of the first ones."""
        assert self._module is not None, "Lightning calls `setup` first"
        return {name: item for name, item in self._module.named_parameters() if item.requires_grad}


@torch.no_grad()
def _exchange(pairs: list[tuple[Tensor, Tensor]]) -> None:
    """The contents of each two tensors."""
    for one, other in pairs:
        kept = one.clone()
        one.copy_(other)
        other.copy_(kept)


def _copy(name: str, item: Tensor) -> Tensor:
    """Raises ValueError for numbers in which an average would stand still."""
    if item.dtype != torch.float32:
        raise ValueError(
            f"optim.ema averages weights that are stored in float32, and {name} is {item.dtype}: "
            "set trainer.precision=bf16-mixed, which stores float32, or optim.ema=0"
        )
    return item.detach().clone()


def _local(item: Tensor) -> Tensor:
    """The piece that this process holds; it shares its memory."""
    return item.to_local() if isinstance(item, DTensor) else item
