"""CUDA graphs: a pass is recorded once per shape and replayed, so that the host does not launch every kernel anew.

Knows functions of tensors without effects that add up: what is recorded runs several times. Knows nothing of what a
pass does. Only used where there is CUDA.
"""

from collections.abc import Callable, Hashable

import torch
from torch import Tensor

Outputs = tuple[Tensor, ...]
PAD_MULTIPLE = 256
"""Caches are read in multiples of this, so that a picture needs few graphs."""


class Graphs:
    """One graph of a function per key; the key stands for everything but the tensors that it depends on."""

    def __init__(self) -> None:
        self._recorded: dict[Hashable, tuple[torch.cuda.CUDAGraph, tuple[Tensor, ...], Outputs]] = {}

    def __call__(self, function: Callable[..., Outputs], key: Hashable, *inputs: Tensor) -> Outputs:
        """`function(*inputs)`."""
        if key not in self._recorded:
            self._recorded[key] = self._record(function, inputs)
        graph, held, outputs = self._recorded[key]
        for place, value in zip(held, inputs, strict=True):
            place.copy_(value)
        graph.replay()
        return tuple(output.clone() for output in outputs)

    def _record(
        self, function: Callable[..., Outputs], inputs: tuple[Tensor, ...]
    ) -> tuple[torch.cuda.CUDAGraph, tuple[Tensor, ...], Outputs]:
        held = tuple(value.clone() for value in inputs)
        # Libraries allocate workspaces at first use, which must not happen while recording.
        aside = torch.cuda.Stream()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            function(*held)
        torch.cuda.current_stream().wait_stream(aside)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            outputs = function(*held)
        return graph, held, outputs


def call_eager(function: Callable[..., Outputs], key: Hashable, *inputs: Tensor) -> Outputs:
    """`function(*inputs)`, where there is nothing to record with."""
    return function(*inputs)
