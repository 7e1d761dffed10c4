"""Low-rank adapters beside the matrices of a backbone, and the 4-bit matrices that they may stand beside.

Knows where adapters stand, what is frozen, and how adapter and matrix become one matrix again. The adapters are peft's
(LoRA, arXiv 2106.09685), the 4 bits those of bitsandbytes (NF4 with scales of 8 bits, QLoRA, arXiv 2305.14314). Knows
nothing of training, or of where the frozen weights come from.

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


def insert(backbone: NextTokenBackbone, config: AdapterConfig, seed: int) -> None:
    """Freeze a backbone and put float32 adapters beside its matrices, in place; they change nothing before training.

    With `qlora` all matrices of the blocks are rounded to 4 bits first, where they are: on the CPU the same bits come
    out everywhere (54 s for 1B on one core). Embedding, head and norms stay as they are. State dicts have no 4-bit
    matrices: who reads one has made the same from the same start.

    Args:
        backbone: in the numbers it is to be kept in.
        config: with a kind other than `none`.
        seed: of the adapters' inner matrices.

    Raises:
        ValueError: peft or bitsandbytes is missing; the message says how to install them.
    """
    with _installed(config.kind):
        from peft import LoraConfig, inject_adapter_in_model
    if config.kind == "qlora":
        _round_to_4_bits(backbone)
    settings: dict[str, Any] = {"r": config.rank, "lora_alpha": config.alpha, "lora_dropout": config.dropout}
    wanted = LoraConfig(target_modules=sorted(set(config.projections)), **settings)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        inject_adapter_in_model(wanted, backbone, NAME)
    for parameter in trained(backbone):
        parameter.data = parameter.data.float()  # peft takes the dtype of what they stand beside


def trained(backbone: NextTokenBackbone) -> list[nn.Parameter]:
    """What training changes: the adapters where there are some, else everything."""
    return [parameter for parameter in backbone.parameters() if parameter.requires_grad]


def multiplied(part: nn.Module) -> int:
    """Parameters of a part, as many as would cost what it costs were all of them trained.

    A frozen one counts two thirds: one multiplication forward, one on the way back, none for a gradient of its own.
    """
    sizes = [(item.numel() * (1 if item.is_floating_point() else 2), item) for item in part.parameters()]
    return round(sum(count * (1.0 if item.requires_grad else 2 / 3) for count, item in sizes))


@torch.no_grad()
def merged_state(backbone: NextTokenBackbone, state: Mapping[str, Tensor] | None = None) -> dict[str, Tensor]:
    """The state dict of a plain backbone that computes what this one does with its adapters.

    Each matrix W + alpha / rank B A is summed in float32 and rounded once, to the dtype of the embedding, which is that
    of the start. Without adapters the state is what it was.

    Args:
        backbone: tells where adapters stand.
        state: its state dict, for example one gathered from several processes; without it the backbone's own.
    """
    merged = dict(backbone.state_dict() if state is None else state)
    embed_VD = merged["embed.weight"]
    for name, module in backbone.named_modules():
        if hasattr(module, "lora_A"):
            down_RI, up_OR = (merged.pop(f"{name}.lora_{which}.{NAME}.weight") for which in "AB")
            base: Any = module.base_layer
            kept_OI = merged.pop(f"{name}.base_layer.weight", None)
            matrix_OI = (base.dequantised() if kept_OI is None else kept_OI).to(embed_VD.device)
            scale: float = module.scaling[NAME]
            merged[f"{name}.weight"] = (matrix_OI.float() + scale * (up_OR.float() @ down_RI.float())).to(embed_VD)
        elif hasattr(module, "dequantised") and not name.endswith(".base_layer"):
            merged[f"{name}.weight"] = module.dequantised().to(embed_VD)
    return merged


def _round_to_4_bits(backbone: NextTokenBackbone) -> None:
    """Replace the matrices of the blocks, one after the other, so that one at a time exists twice."""
    with _installed("qlora"):
        from lit_pure.models.four_bits import FourBitLinear
    for part in list(backbone.blocks.modules()):
        for name, matrix in part.named_children():
            if isinstance(matrix, nn.Linear):
                setattr(part, name, FourBitLinear(matrix))


@contextmanager
def _installed(kind: str) -> Iterator[None]:
    """Imports of what is no part of the usual installation: told in a sentence where they fail, quiet where not."""
    # bitsandbytes and torchao tell of faster ways that are not here, and of what a coming torch will do.
    loud = [logging.getLogger(name) for name in ("bitsandbytes.backends.cpu.ops", "torch.utils._pytree")]
    before = [logger.level for logger in loud]
    try:
        for logger in loud:
            logger.setLevel(logging.ERROR)
        yield
    except ImportError as error:
        raise ValueError(
            f"adapter.kind={kind} needs a package that cannot be imported ({error}); "
            "install what it takes: pip install 'lit_pure[adapters]'"
        ) from error
    finally:
        for logger, level in zip(loud, before, strict=True):
            logger.setLevel(level)
