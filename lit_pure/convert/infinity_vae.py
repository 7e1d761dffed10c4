"""The published layout of Infinity's tokenizers (`infinity_vae_*.pth`) <-> ours.

Knows the names of its tensors, by walking the structure that `models/autoencoder.py` builds: nested (`conv1.conv`) as
published, and plain (`conv1`), which its code reads too. Knows nothing of where files come from.
"""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from lit_pure.config.bit_tokenizer import BitTokenizerConfig
from lit_pure.convert.foreign import read_pickle, require_shapes, shapes, tensors, unwrapped
from lit_pure.files.atomic import whole_file
from lit_pure.models import weights
from lit_pure.models.bit_tokenizer import BitTokenizer

TABLE = "vae"
"""The key of the tensors in a published file."""
MASKS = ("quantizer.lfq.mask", "quantize.lfq.mask")
"""A buffer under two names, powers of two that number codes: dropped when reading, made anew when writing."""
NOTHING = ""
"""In place of the name of a layer without tensors."""


def key_table(config: BitTokenizerConfig) -> dict[str, str]:
    """Their nested names -> ours, except the masks. Raises ValueError where the layout has no such model."""
    if config.stem != 1:
        raise ValueError(f"a tokenizer with stem {config.stem} has no published layout; Infinity's has stem 1")
    with torch.device("meta"):
        ours = BitTokenizer(config)
    table = {}
    for half, names in (("encoder", _encoder_names(config)), ("decoder", _decoder_names(config))):
        for index, (name, layer) in enumerate(zip(names, ours.get_submodule(half).children(), strict=True)):
            for key in layer.state_dict():
                part, _, leaf = key.rpartition(".")
                path = [half, name, "nin_shortcut" if part == "shortcut" else part]
                path += ["norm" if "norm" in (part or name) else "conv", leaf]
                table[".".join(filter(None, path))] = f"{half}.{index}.{key}"
    return table


def from_infinity_vae(
    state: Mapping[str, Tensor], config: BitTokenizerConfig, source: Path, remedy: str
) -> dict[str, Tensor]:
    """Our state dict from theirs: the same tensors under our names. Raises ValueError naming what does not fit."""
    table = key_table(config)
    nested = {_plain(name): name for name in table}
    found = {name: item for name, item in unwrapped(state, [*table, *MASKS]).items() if name not in MASKS}
    used = {nested.get(name, name): item for name, item in found.items()}
    if len(used) < len(found):
        twice = sorted(nested[name] for name in found if name in nested and nested[name] in found)
        raise ValueError(f"{source} has {twice[0]} twice, also without its last part but one; {remedy}")
    with torch.device("meta"):
        ours = shapes(BitTokenizer(config).state_dict())
    require_shapes(shapes(used), {theirs: ours[name] for theirs, name in table.items()}, source, remedy)
    return {table[name]: item for name, item in used.items()}


def to_infinity_vae(state: Mapping[str, Tensor], config: BitTokenizerConfig) -> dict[str, Tensor]:
    """Their state dict from ours."""
    theirs = {name: state[ours] for name, ours in key_table(config).items()}
    mask_D = 2 ** torch.arange(config.bits - 1, -1, -1)
    return {**theirs, **dict.fromkeys(MASKS, mask_D)}


def read_infinity_vae(path: Path, config: BitTokenizerConfig, remedy: str) -> BitTokenizer:
    """A frozen tokenizer of the sizes in `config`. Raises ValueError with the remedy; runs no code from the file."""
    content = read_pickle(path, remedy)
    if isinstance(content, dict) and isinstance(content.get(TABLE), dict):
        content = content[TABLE]
    state = from_infinity_vae(tensors(content, path, remedy), config, path, remedy)
    return weights.load_frozen(lambda: BitTokenizer(config), state, path).float()


def write_infinity_vae(path: Path, tokenizer: BitTokenizer) -> None:
    """Write a file that Infinity's and NSARM's code read. Raises ValueError where it cannot be written."""
    state = to_infinity_vae(tokenizer.state_dict(), tokenizer.config)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as partial:
            torch.save({TABLE: {name: item.detach().cpu() for name, item in state.items()}}, partial)
    except (OSError, RuntimeError) as error:
        raise ValueError(f"{path} cannot be written ({error}); choose another place, or make room") from error


def _plain(name: str) -> str:
    """Their nested name -> the plain one: without the last part but one."""
    *path, _, leaf = name.split(".")
    return ".".join([*path, leaf])


def _encoder_names(config: BitTokenizerConfig) -> list[str]:
    """Their names for the layers of `autoencoder.make_encoder`, in its order."""
    names, deepest = [NOTHING, "conv_in"], len(config.multipliers) - 1
    for level in range(deepest + 1):
        names += [f"down.{level}.block.{block}" for block in range(config.res_blocks)]
        if level < deepest:
            names.append(f"down.{level}.downsample")
    return [*names, *_MIDDLE, *_FINISH]


def _decoder_names(config: BitTokenizerConfig) -> list[str]:
    """Their names for the layers of `autoencoder.make_decoder`, in its order: the deepest level has the last number."""
    names = ["conv_in", *_MIDDLE]
    for level in reversed(range(len(config.multipliers))):
        names += [f"up.{level}.block.{block}" for block in range(config.res_blocks + 1)]
        if level:
            names.append(f"up.{level}.upsample")
    return [*names, *_FINISH, NOTHING]


_MIDDLE = ["mid.block_1", "mid.block_2"]
_FINISH = ["norm_out", NOTHING, "conv_out"]
