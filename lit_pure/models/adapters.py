"""Low-rank adapters for the matrices of a backbone, which may be quantized to 4 bits.

Knows which matrices have adapters, what is frozen, and how to merge an adapter into its matrix. The adapters are peft's
(LoRA, arXiv 2106.09685); the 4-bit matrices are bitsandbytes' (NF4 with 8-bit scales, QLoRA, arXiv 2305.14314). Knows
nothing of training, or where the frozen weights come from.

Shape legend: O I output and input channels of a matrix, R rank.
"""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from lit_pure.config.pure import AdapterConfig
from lit_pure.models.next_token import NextTokenBackbone

NAME = "default"
"""peft's name of the only adapter that a matrix has."""


def insert_adapters(backbone: NextTokenBackbone, config: AdapterConfig, seed: int) -> None:
    """Freeze a backbone and add float32 adapters to its matrices, in place; they change nothing before training.

    With `qlora` all matrices of the blocks are first rounded to 4 bits, on their device. The CPU gives the same bits on
    every machine (54 s for 1B on one core). Embedding, head and norms stay as they are. State dicts hold no 4-bit
    matrices: the loader has built them from the same start.

    Args:
        backbone: in the dtype in which it is to be kept.
        config: with a kind other than `none`.
        seed: for the adapters' inner matrices.

    Raises:
        ValueError: peft or bitsandbytes is missing; the message says how to install them.
    """
    with _optional_imports(config.kind):
        from peft import LoraConfig, inject_adapter_in_model
    if config.kind == "qlora":
        _round_to_4_bits(backbone)
    settings: dict[str, Any] = {"r": config.rank, "lora_alpha": config.alpha, "lora_dropout": config.dropout}
    wanted = LoraConfig(target_modules=sorted(set(config.projections)), **settings)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        inject_adapter_in_model(wanted, backbone, NAME)
    for parameter in trainable_parameters(backbone):
        parameter.data = parameter.data.float()  # peft takes the dtype of the adapted matrix


def trainable_parameters(backbone: NextTokenBackbone) -> list[nn.Parameter]:
    """The parameters that training changes: the adapters if there are any, else all."""
    return [parameter for parameter in backbone.parameters() if parameter.requires_grad]


def equivalent_parameters(part: nn.Module) -> int:
    """The number of trained parameters that would cost as much as this part does.

    A frozen parameter counts two thirds: one multiplication forward, one backward, none for its own gradient.
    """
    sizes = [(item.numel() * (1 if item.is_floating_point() else 2), item) for item in part.parameters()]
    return round(sum(count * (1.0 if item.requires_grad else 2 / 3) for count, item in sizes))


@torch.no_grad()
def merged_state_dict(backbone: NextTokenBackbone, state: Mapping[str, Tensor] | None = None) -> dict[str, Tensor]:
    """The state dict of a plain backbone that computes the same as this one with its adapters.

    Each matrix W + alpha / rank B A is summed in float32 and rounded once, to the dtype of the embedding, which is that
    of the start. Without adapters the state stays as it is.

    Args:
        backbone: with the adapters.
        state: its state dict, for example one gathered from several processes; None takes the backbone's own.
    """
    merged = dict(backbone.state_dict() if state is None else state)
    embed_VD = merged["embed.weight"]
    for name, module in backbone.named_modules():
        if hasattr(module, "lora_A"):
            down_RI, up_OR = (merged.pop(f"{name}.lora_{which}.{NAME}.weight") for which in "AB")
            base: Any = module.base_layer
            kept_OI = merged.pop(f"{name}.base_layer.weight", None)
            matrix_OI = (base.dequantize() if kept_OI is None else kept_OI).to(embed_VD.device)
            scale: float = module.scaling[NAME]
            merged[f"{name}.weight"] = (matrix_OI.float() + scale * (up_OR.float() @ down_RI.float())).to(embed_VD)
        elif hasattr(module, "dequantize") and not name.endswith(".base_layer"):
            merged[f"{name}.weight"] = module.dequantize().to(embed_VD)
    return merged


def _round_to_4_bits(backbone: NextTokenBackbone) -> None:
    """Replace the matrices of the blocks one after the other, so that only one at a time exists twice."""
    with _optional_imports("qlora"):
        from lit_pure.models.four_bits import FourBitLinear
    for part in list(backbone.blocks.modules()):
        for name, matrix in part.named_children():
            if isinstance(matrix, nn.Linear):
                setattr(part, name, FourBitLinear(matrix))


@contextmanager
def _optional_imports(kind: str) -> Iterator[None]:
    """Imports of optional packages inside: ValueError with the remedy if one fails, and no warnings if not."""
    # bitsandbytes and torchao warn of faster kernels that are not installed, and of what a later torch will change.
    loud = [logging.getLogger(name) for name in ("bitsandbytes.backends.cpu.ops", "torch.utils._pytree")]
    before = [logger.level for logger in loud]
    try:
        for logger in loud:
            logger.setLevel(logging.ERROR)
        yield
    except ImportError as error:
        raise ValueError(
            f"adapter.kind={kind} needs a package that cannot be imported ({error}); "
            "install it: pip install 'lit_pure[adapters]'"
        ) from error
    finally:
        for logger, level in zip(loud, before, strict=True):
            logger.setLevel(level)
