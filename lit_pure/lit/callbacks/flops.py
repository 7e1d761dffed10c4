"""The FLOP of a training step, and the peak FLOP/s of a device.

Knows formulas and Lightning's table of devices. Knows nothing of clocks or of models.
"""

from collections.abc import Sequence

import torch
from lightning import Trainer
from lightning.fabric.utilities.throughput import get_available_flops

_H200 = 989e12
"""FLOP/s of an H200 with 16 bits, dense (NVIDIA's data sheet gives twice that, with sparsity); the same as an H100's.

Lightning knows it only under other names, with the sparse figure.
"""
_DTYPES = {"bf16": torch.bfloat16, "16": torch.float16, "32": torch.float32, "64": torch.float64}


def transformer_training(
    block_parameters: int, lengths: Sequence[int], layers: int, width: int, head_parameters: int = 0, labels: int = 0
) -> float:
    """Model FLOP of a forward and backward pass of a transformer, as PaLM counts them (arXiv 2204.02311, appendix B).

    6 per parameter and token (a multiplication and an addition, once forward and twice backward), and for attention
    12 x layers x width x context per token, without regard to the causal mask. Embeddings, norms, rotations, softmax
    and recomputed activations do not count.

    Args:
        block_parameters: parameters that every token passes through.
        lengths: tokens of each row, without padding; each row is its own context.
        layers: number of attention layers.
        width: of all heads together.
        head_parameters: parameters of the output matrix.
        labels: tokens that pass through the output matrix.
    """
    attention = 12 * layers * width
    return sum(length * (6.0 * block_parameters + attention * length) for length in lengths) + (
        6.0 * head_parameters * labels
    )


def peak_of(trainer: Trainer) -> float:
    """FLOP/s of one device in the trainer's precision, mostly from Lightning's table; 0 if unknown, as of a CPU."""
    dtype = _DTYPES.get(str(trainer.precision).partition("-")[0])
    if dtype is None:
        return 0.0
    return device_peak(trainer.strategy.root_device, dtype)


def device_peak(device: torch.device, dtype: torch.dtype) -> float:
    """FLOP/s of one device in a dtype, mostly from Lightning's table; 0 if unknown, as of a CPU."""
    if device.type == "cuda" and dtype.itemsize == 2 and "H200" in torch.cuda.get_device_name(device):
        return _H200
    return float(get_available_flops(device, dtype) or 0)
