"""The published layout of Infinity's transformers and of `NSARM.pth` <-> ours.

Knows the names and shapes of their tensors, and which of them hold nothing to learn. Knows nothing of where files come
from, or of NSARM's transformation network but the prefix of its names.
"""

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lit_pure.config.next_scale import NextScaleConfig
from lit_pure.convert.foreign import read_folder, read_pickle, require_shapes, shapes, tensors
from lit_pure.models import weights
from lit_pure.models.next_scale import NextScaleTransformer

PREFIX = "map_transformer."
"""Before the names of NSARM's transformation network."""
CHUNKS = 8
"""Groups of blocks in published files."""
OUTER = {
    "cfg_uncond": "captions.empty_TW",
    "pos_start": "start_D",
    "text_norm.weight": "captions.norm.weight",
    "text_proj_for_sos.ca.mat_q": "captions.pool.query_Hd",
    "text_proj_for_sos.ca.v_bias": "captions.pool.v_bias",
    "text_proj_for_sos.ca.mat_kv.weight": "captions.pool.kv.weight",
    "text_proj_for_sos.ca.proj.weight": "captions.pool.out.weight",
    "text_proj_for_sos.ca.proj.bias": "captions.pool.out.bias",
    "text_proj_for_ca.0.weight": "captions.project.0.weight",
    "text_proj_for_ca.0.bias": "captions.project.0.bias",
    "text_proj_for_ca.2.weight": "captions.project.2.weight",
    "text_proj_for_ca.2.bias": "captions.project.2.bias",
    "lvl_embed.weight": "level.weight",
    "word_embed.weight": "embed.weight",
    "word_embed.bias": "embed.bias",
    "shared_ada_lin.1.weight": "ada.weight",
    "shared_ada_lin.1.bias": "ada.bias",
    "head_nm.ada_lin.1.weight": "head.ada.weight",
    "head_nm.ada_lin.1.bias": "head.ada.bias",
    "head.weight": "head.out.weight",
    "head.bias": "head.out.bias",
}
INNER = {
    "ada_gss": "ada_6D",
    "sa.scale_mul_1H11": "attention.scale_H",
    "sa.q_bias": "attention.q_bias",
    "sa.v_bias": "attention.v_bias",
    "sa.mat_qkv.weight": "attention.qkv.weight",
    "sa.proj.weight": "attention.out.weight",
    "sa.proj.bias": "attention.out.bias",
    "ca.v_bias": "text_attention.v_bias",
    "ca.mat_q.weight": "text_attention.q.weight",
    "ca.mat_q.bias": "text_attention.q.bias",
    "ca.mat_kv.weight": "text_attention.kv.weight",
    "ca.proj.weight": "text_attention.out.weight",
    "ca.proj.bias": "text_attention.out.bias",
    "ffn.fc1.weight": "ffn.up.weight",
    "ffn.fc1.bias": "ffn.up.bias",
    "ffn.fc2.weight": "ffn.down.weight",
    "ffn.fc2.bias": "ffn.down.bias",
    "ca_norm.weight": "text_norm.weight",
    "ca_norm.bias": "text_norm.bias",
}
"""Their names in a block -> ours."""
WIDER = {"pos_start": 2, "text_proj_for_sos.ca.mat_q": 1, "ada_gss": 2}
"""Tensors that have so many dimensions of size 1 in front of ours; the attention's scales have them on both sides."""
SCALES = "sa.scale_mul_1H11"
ZEROS = "zero_k_bias"
"""Buffers of zeros, one in each attention: dropped when reading, written as zeros."""
MADE_ANEW = ("lvl_1L", "attn_bias_for_masking", "Infinity_visible_kvlen", "Infinity_invisible_qlen")
"""What training files have of masks: dropped."""
SIZED = (
    "word_embed.weight",
    "lvl_embed.weight",
    "cfg_uncond",
    "text_proj_for_sos.ca.mat_q",
    "block_chunks.0.module.0.sa.scale_mul_1H11",
    "block_chunks.0.module.0.ffn.fc1.weight",
)
"""Tensors whose shapes tell all sizes but the number of blocks."""
BLOCK = re.compile(r"block_chunks\.(\d+)\.module\.(\d+)\.(.+)")


def key_table(config: NextScaleConfig, chunks: int = CHUNKS) -> dict[str, str]:
    """Their names -> ours, for all tensors but zeros. Raises ValueError where `chunks` are of unequal size."""
    if config.layers % chunks:
        raise ValueError(f"{config.layers} blocks do not make {chunks} chunks of equal size; give another number")
    table, each = dict(OUTER), config.layers // chunks
    for layer in range(config.layers):
        where = "block_chunks.{}.module.{}".format(*divmod(layer, each))
        table |= {f"{where}.{theirs}": f"blocks.{layer}.{ours}" for theirs, ours in INNER.items()}
    return table


def sizes_in(state: Mapping[str, Tensor], config: NextScaleConfig, source: Path, remedy: str) -> NextScaleConfig:
    """`config` with the sizes that the tensors have. Raises ValueError where one that tells them is missing."""
    if missing := [name for name in SIZED if name not in state]:
        raise ValueError(f"{source} is no transformer of Infinity or NSARM: it lacks {missing[0]}; {remedy}")
    embed, level, empty, query, scales, up = (state[name].shape for name in SIZED)
    blocks = {found.group(1, 2) for name in state if (found := BLOCK.fullmatch(name))}
    return replace(
        config,
        width=embed[0],
        bits=embed[1],
        levels=level[0],
        text_length=empty[0],
        text_width=empty[1],
        pool_heads=query[1],
        heads=scales[1],
        ffn=up[0],
        layers=len(blocks),
    )


def from_infinity(state: Mapping[str, Tensor], config: NextScaleConfig, source: Path, remedy: str) -> dict[str, Tensor]:
    """Our state dict from theirs: the same numbers under our names. Raises ValueError naming what does not fit."""
    used = {name: item for name, item in state.items() if name not in MADE_ANEW and not name.endswith(ZEROS)}
    chunks = {found.group(1) for name in used if (found := BLOCK.fullmatch(name))}
    table = key_table(config, len(chunks) or 1)
    ours = _shapes(config)
    wanted = {theirs: _their_shape(theirs, ours[name]) for theirs, name in table.items()}
    require_shapes(shapes(used), wanted, source, remedy)
    return {table[name]: item.reshape(ours[table[name]]) for name, item in used.items()}


def to_infinity(state: Mapping[str, Tensor], config: NextScaleConfig, chunks: int = CHUNKS) -> dict[str, Tensor]:
    """Their state dict from ours, with its zeros. Raises ValueError where `chunks` are of unequal size."""
    found: dict[str, Tensor] = {}
    for theirs, name in key_table(config, chunks).items():
        found[theirs] = state[name].reshape(_their_shape(theirs, tuple(state[name].shape)))
        if theirs.endswith("a.v_bias"):  # of self-attention, of attention to the caption, of the pooling
            found[theirs.replace("v_bias", ZEROS)] = torch.zeros_like(state[name])
    return found


def split_nsarm(state: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The transformer's tensors, and the transformation network's without their prefix; none of these in Infinity."""
    network = {name.removeprefix(PREFIX): item for name, item in state.items() if name.startswith(PREFIX)}
    return {name: item for name, item in state.items() if not name.startswith(PREFIX)}, network


def join_nsarm(transformer: Mapping[str, Tensor], network: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of a file like `NSARM.pth`, from those of `to_infinity` and of the transformation network."""
    return {**transformer, **{PREFIX + name: item for name, item in network.items()}}


def read_state(path: Path, remedy: str) -> dict[str, Tensor]:
    """The tensors of a published file or folder, or of one that Infinity's training saves. Raises ValueError."""
    if path.is_dir():
        return read_folder(path, remedy)
    content: Any = read_pickle(path, remedy)
    for name in ("trainer", "gpt_fsdp"):  # where training keeps the transformer
        content = content.get(name, content) if isinstance(content, dict) else content
    return tensors(content, path, remedy)


def read_infinity(path: Path, config: NextScaleConfig, remedy: str) -> tuple[NextScaleTransformer, dict[str, Tensor]]:
    """A frozen transformer with the sizes of the file, and the tensors of the transformation network, if any.

    `config` gives what no tensor tells, for example dropout. Raises ValueError with the remedy; runs no code from the
    file.
    """
    state, network = split_nsarm(read_state(path, remedy))
    sizes = sizes_in(state, config, path, remedy)
    ours = from_infinity(state, sizes, path, remedy)
    return weights.load_frozen(lambda: NextScaleTransformer(sizes), ours, path), network


def _shapes(config: NextScaleConfig) -> dict[str, tuple[int, ...]]:
    with torch.device("meta"):
        return shapes(NextScaleTransformer(config).state_dict())


def _their_shape(theirs: str, ours: tuple[int, ...]) -> tuple[int, ...]:
    if theirs.endswith(SCALES):
        return (1, *ours, 1, 1)
    ones = next((count for name, count in WIDER.items() if theirs.endswith(name)), 0)
    return (1,) * ones + ours
