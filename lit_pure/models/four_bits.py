"""A frozen matrix in 4 bits.

Knows bitsandbytes, and is imported only where that is needed. Knows nothing of adapters or of backbones.

Shape legend: O I output and input channels of a matrix.
"""

from typing import Any

import torch
from bitsandbytes.autograd._functions import matmul_4bit
from bitsandbytes.functional import dequantize_4bit
from bitsandbytes.nn.modules import Linear4bit, Params4bit
from torch import Tensor, nn

BLOCK = 64
"""Weights that have one scale."""


class FourBitLinear(Linear4bit):
    """bitsandbytes' NF4 (arXiv 2305.14314) with blocks of `BLOCK` weights, whose scales are kept in 8 bits.

    It computes in the numbers that torch's own matrices would. In state dicts it does not appear: who reads one makes
    the same matrices from the same start.
    """

    def __init__(self, matrix: nn.Linear) -> None:
        """Rounds the weight of `matrix`, which has no bias and stays as it is.

        Raises ValueError where a block would go over the end of a row: on a processor, bitsandbytes 0.50 gives other
        numbers back than it took.
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
        """Theirs keeps to the dtype of its first input, and repacks its weights on processors that have AVX512-BF16."""
        device = x.device.type
        if torch.is_autocast_enabled(device):
            x = x.to(torch.get_autocast_dtype(device))
        assert self.quant_state is not None, "it is rounded when it is made"
        return matmul_4bit(x, self.weight, quant_state=self.quant_state)

    def dequantised(self) -> Tensor:
        """The matrix (O, I) that it stands for, in the dtype that it was made from."""
        return dequantize_4bit(self.weight.data, self.quant_state)

    def _save_to_state_dict(self, *arguments: Any) -> None:
        pass

    def _load_from_state_dict(self, *arguments: Any) -> None:
        pass
