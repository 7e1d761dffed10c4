"""The dtype in which a backbone decodes, and weights rounded to 8 bits.

Knows which parts of a backbone may be rounded; torchao does the rounding. For sampling only: a backbone prepared here
cannot be trained any more.
"""

import torch
from torch import nn

from lit_pure.config.pure import SamplingConfig
from lit_pure.models.next_token import NextTokenBackbone

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def prepare(backbone: NextTokenBackbone, config: SamplingConfig) -> NextTokenBackbone:
    """Cast the backbone and round the matrices of its blocks in place, as configured.

    Embedding, norms and head are not rounded: the head decides the entropies. Raises ValueError if torchao is missing.
    """
    if config.dtype != "stored":
        backbone.to(DTYPES[config.dtype])
    if config.quantize == "none":
        return backbone
    try:
        from torchao.quantization import Float8WeightOnlyConfig, Int8WeightOnlyConfig, quantize_
    except ImportError as error:
        raise ValueError(
            f"sampling.quantize={config.quantize} needs torchao ({error}); install it: pip install torchao"
        ) from error
    rule = Int8WeightOnlyConfig() if config.quantize == "int8" else Float8WeightOnlyConfig()
    quantize_(backbone.blocks, rule, lambda module, _: isinstance(module, nn.Linear))
    return backbone
