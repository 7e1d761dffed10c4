"""The official layout of LlamaGen's tokenizer (`vq_ds8_c2i.pt`) <-> ours.

Knows the names of its tensors, by walking the structure that `models/autoencoder.py` builds. Knows nothing of where
files come from.
"""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from lit_pure.config.tokenizer import VQConfig
from lit_pure.convert.foreign import read_pickle, require_shapes, shapes, tensors, unwrapped
from lit_pure.files.atomic import whole_file
from lit_pure.models import weights
from lit_pure.models.vq import VQTokenizer

OUTER = {
    "codebook_ND": "quantize.embedding.weight",
    "to_code.weight": "quant_conv.weight",
    "to_code.bias": "quant_conv.bias",
    "from_code.weight": "post_quant_conv.weight",
    "from_code.bias": "post_quant_conv.bias",
}
PARTS = {"shortcut": "nin_shortcut", "out": "proj_out"}
"""Our names for parts of a block -> theirs, where they differ."""
COUNTER = "quantize.codebook_used"
"""A buffer of training statistics in LlamaGen: dropped when reading, zeros when writing."""
COUNTER_LENGTH = 65536
NOTHING = ""
"""In place of the name of a layer without tensors."""


def key_table(config: VQConfig) -> dict[str, str]:
    """Their names -> ours, for all tensors except the counter. Raises ValueError where the layout has no such model."""
    if config.stem != 1 or not config.attention:
        raise ValueError(
            f"a tokenizer with stem {config.stem} and attention {config.attention} has no official layout; "
            "LlamaGen's has stem 1 and attention true"
        )
    with torch.device("meta"):
        ours = VQTokenizer(config)
    table = {theirs: name for name, theirs in OUTER.items()}
    for half, names in (("encoder", _encoder_names(config)), ("decoder", _decoder_names(config))):
        for index, (name, layer) in enumerate(zip(names, ours.get_submodule(half).children(), strict=True)):
            for key in layer.state_dict():
                part, _, leaf = key.rpartition(".")
                path = [half, name, PARTS.get(part, part), leaf]
                table[".".join(filter(None, path))] = f"{half}.{index}.{key}"
    return table


def from_llamagen(state: Mapping[str, Tensor], config: VQConfig, source: Path, remedy: str) -> dict[str, Tensor]:
    """Our state dict from theirs: the same tensors under our names. Raises ValueError naming what does not fit."""
    table = key_table(config)
    with torch.device("meta"):
        ours = shapes(VQTokenizer(config).state_dict())
    used = {name: item for name, item in unwrapped(state, table).items() if name != COUNTER}
    require_shapes(shapes(used), {theirs: ours[name] for theirs, name in table.items()}, source, remedy)
    return {table[name]: item for name, item in used.items()}


def to_llamagen(state: Mapping[str, Tensor], config: VQConfig) -> dict[str, Tensor]:
    """Their state dict from ours."""
    theirs = {name: state[ours] for name, ours in key_table(config).items()}
    return {**theirs, COUNTER: torch.zeros(COUNTER_LENGTH)}


def read_llamagen(path: Path, config: VQConfig, remedy: str) -> VQTokenizer:
    """A frozen tokenizer of the sizes in `config`. Raises ValueError with the remedy; runs no code from the file."""
    # Like PURE: the model itself, even where the file also has averaged weights ("ema").
    state = from_llamagen(tensors(read_pickle(path, remedy), path, remedy), config, path, remedy)
    return weights.load_frozen(lambda: VQTokenizer(config), state, path).float()


def write_llamagen(path: Path, tokenizer: VQTokenizer) -> None:
    """Write a file that LlamaGen's and PURE's code read. Raises ValueError where it cannot be written."""
    state = to_llamagen(tokenizer.state_dict(), tokenizer.config)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as partial:
            torch.save({"model": {name: item.detach().cpu() for name, item in state.items()}}, partial)
    except (OSError, RuntimeError) as error:
        raise ValueError(f"{path} cannot be written ({error}); choose another place, or make room") from error


def _encoder_names(config: VQConfig) -> list[str]:
    """Their names for the layers of `autoencoder.make_encoder`, in its order."""
    names, deepest = [NOTHING, "conv_in"], len(config.channels) - 1
    for level in range(len(config.channels)):
        names += _level(level, config.res_blocks, attention=level == deepest)
        if level < deepest:
            names.append(f"conv_blocks.{level}.downsample")
    return [*names, *_MIDDLE, *_FINISH]


def _decoder_names(config: VQConfig) -> list[str]:
    """Their names for the layers of `autoencoder.make_decoder`, in its order."""
    names = ["conv_in", *_MIDDLE]
    for level in range(len(config.channels)):
        names += _level(level, config.res_blocks + 1, attention=level == 0)
        if level < len(config.channels) - 1:
            names.append(f"conv_blocks.{level}.upsample")
    return [*names, *_FINISH, NOTHING]


_MIDDLE = ["mid.0", "mid.1", "mid.2"]
_FINISH = ["norm_out", NOTHING, "conv_out"]


def _level(level: int, blocks: int, attention: bool) -> list[str]:
    kinds = ("res", "attn") if attention else ("res",)
    return [f"conv_blocks.{level}.{kind}.{block}" for block in range(blocks) for kind in kinds]
