"""A frozen matrix in 4 bits.

Knows bitsandbytes, and is imported only where 4 bits are needed. Knows nothing of adapters or backbones.

Shape legend: O I output and input channels of a matrix.
"""

from typing import Any

import torch
from bitsandbytes.autograd._functions import matmul_4bit
from bitsandbytes.functional import dequantize_4bit
from bitsandbytes.nn.modules import Linear4bit, Params4bit
from torch import Tensor, nn

BLOCK = 64
"""Weights that share one scale."""


class FourBitLinear(Linear4bit):
    """bitsandbytes' NF4 (arXiv 2305.14314) with blocks of `BLOCK` weights, whose scales are kept in 8 bits.

    It computes in the dtype that `nn.Linear` would. State dicts do not hold it: the loader builds the same
    matrices from the same start.
    """

    def __init__(self, matrix: nn.Linear) -> None:
        """Round the weight of `matrix`, which has no bias and stays as it is.

        Raises ValueError where a block would cross the end of a row: on the CPU, bitsandbytes 0.50 then returns
        different numbers than it was given.
        """
        if matrix.in_features % BLOCK:
            raise ValueError(
                f"rows of {matrix.in_features} weights cannot be kept in 4 bits; take a multiple of {BLOCK}"
            )
        meta = torch.device("meta")
        super().__init__(  # type: ignore[no-untyped-call]
            matrix.in_features, matrix.out_features, bias=False, device=meta
        )
        kept: dict[str, Any] = {"blocksize": BLOCK, "quant_type": "nf4", "module": self}
        self.weight = Params4bit(matrix.weight.data, **kept)
        self.to(matrix.weight.device)  # rounds

    def forward(self, x: Tensor) -> Tensor:
        """Replaces that of bitsandbytes, which keeps the dtype of its first input and repacks for AVX512-BF16."""
        device = x.device.type
        if torch.is_autocast_enabled(device):
            x = x.to(torch.get_autocast_dtype(device))
        assert self.quant_state is not None, "__init__ rounds the weight"
        return matmul_4bit(x, self.weight, quant_state=self.quant_state)

    def dequantize(self) -> Tensor:
        """The matrix (O, I) that the 4 bits stand for, in the dtype of the original one."""
        return dequantize_4bit(self.weight.data, self.quant_state)

    def _save_to_state_dict(self, *arguments: Any) -> None:
        pass

    def _load_from_state_dict(self, *arguments: Any) -> None:
        pass
