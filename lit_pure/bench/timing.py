"""The turns of two ways of training on one device, and their measurements.

Knows clocks, a device's memory and losses. Knows nothing of what is trained, or how.
"""

import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

Way = Literal["trainer", "by hand"]


@dataclass
class Turn:
    """Some steps of one way of training."""

    way: Way
    number: int
    """Of the round; 0 is for warm-up."""
    seconds: list[float] = field(default_factory=list)
    """Of each step."""
    processor: float = 0.0
    """Processor time of this process for all steps together [s]."""
    losses: list[float] = field(default_factory=list)
    peak: float | None = None
    """Peak memory of a CUDA device, without what the other way keeps there [byte]."""


def turns_in_order(rounds: int) -> list[Turn]:
    """The order of the turns: the Trainer starts the even rounds, the loop by hand the odd ones."""
    turns: list[Turn] = []
    for number in range(rounds + 1):
        pair = [Turn("trainer", number), Turn("by hand", number)]
        turns += pair if number % 2 == 0 else pair[::-1]
    return turns


class Meter:
    """Times steps: on a CPU with the host's clock, on CUDA with the device's own, without waiting between steps."""

    def __init__(self, device: torch.device) -> None:
        self.device, self._cuda = device, device.type == "cuda"

    def begin(self) -> None:
        """A turn starts."""
        if self._cuda:
            torch.cuda.synchronize(self.device)
            torch.cuda.reset_peak_memory_stats(self.device)
        self._losses: list[Tensor] = []
        self._processor, self._marks = time.process_time(), [self._mark()]

    def step(self, loss: Tensor) -> None:
        """A step is over."""
        self._losses.append(loss)
        self._marks.append(self._mark())

    def end(self, turn: Turn, other_bytes: int) -> None:
        """The turn is over: fill in its figures. `other_bytes`: what the other way keeps on the device [byte]."""
        if self._cuda:
            torch.cuda.synchronize(self.device)
            turn.peak = float(torch.cuda.max_memory_allocated(self.device) - other_bytes)
        turn.processor = time.process_time() - self._processor
        turn.seconds = [self._between(*marks) for marks in pairwise(self._marks)]
        turn.losses = torch.stack(self._losses).tolist()

    def _mark(self) -> Any:
        if not self._cuda:
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event

    def _between(self, before: Any, after: Any) -> float:
        return float(before.elapsed_time(after) / 1000 if self._cuda else after - before)


def kept_bytes(parameters: Iterable[nn.Parameter], optimizer: Optimizer) -> int:
    """Bytes that a training keeps on CUDA between steps: parameters, remaining gradients, and optimizer states."""
    kept = [tensor for item in parameters for tensor in (item, item.grad) if tensor is not None]
    kept += [value for state in optimizer.state.values() for value in state.values() if isinstance(value, Tensor)]
    return sum(tensor.nbytes for tensor in kept if tensor.is_cuda)
