"""CUDA graphs: a pass is captured once per shape and replayed, so that the host does not launch every kernel again.

Knows functions of tensors. Capturing runs a function several times, so its side effects must not add up. Knows nothing
of what a pass does. Used with CUDA only.
"""

from collections.abc import Callable, Hashable

import torch
from torch import Tensor

Outputs = tuple[Tensor, ...]
PAD_MULTIPLE = 256
"""Caches are read in multiples of this, so that a picture needs few graphs."""


class Graphs:
    """One graph of a function per key; the key holds all that the function depends on besides its tensors."""

    def __init__(self) -> None:
        self._recorded: dict[Hashable, tuple[torch.cuda.CUDAGraph, tuple[Tensor, ...], Outputs]] = {}

    def __call__(self, function: Callable[..., Outputs], key: Hashable, *inputs: Tensor) -> Outputs:
        """`function(*inputs)`."""
        if key not in self._recorded:
            self._recorded[key] = self._record(function, inputs)
        graph, static, outputs = self._recorded[key]
        for buffer, value in zip(static, inputs, strict=True):
            buffer.copy_(value)
        graph.replay()
        return tuple(output.clone() for output in outputs)

    def _record(
        self, function: Callable[..., Outputs], inputs: tuple[Tensor, ...]
    ) -> tuple[torch.cuda.CUDAGraph, tuple[Tensor, ...], Outputs]:
        static = tuple(value.clone() for value in inputs)
        # Libraries allocate workspaces at first use, which must not happen during capture.
        warmup = torch.cuda.Stream()
        warmup.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(warmup):
            function(*static)
        torch.cuda.current_stream().wait_stream(warmup)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            outputs = function(*static)
        return graph, static, outputs


def call_eager(function: Callable[..., Outputs], key: Hashable, *inputs: Tensor) -> Outputs:
    """`function(*inputs)`, without a graph."""
    return function(*inputs)
