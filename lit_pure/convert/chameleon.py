"""The official layout of PURE, Lumina-mGPT and Chameleon (Hugging Face's) <-> our backbone, and their vocabulary.

Knows the names of their tensors and of the keys in their config.json, the ids of the official vocabulary, and what has
no counterpart here. Knows nothing of where files come from.

Weights of the query and key norms are shared by all heads: PURE stores one row of them, Hugging Face's model one row
per head. Any number of equal rows is read; rows that differ are refused.
"""

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from torch import Tensor

from lit_pure.config.pure import BackboneConfig
from lit_pure.convert.chameleon_tokenizer import write_tokenizer
from lit_pure.convert.foreign import read_folder, require_shapes, shapes, unwrapped
from lit_pure.families.pure.sequence.vocabulary import CODE, Vocabulary, code_name
from lit_pure.files.reading import read_json
from lit_pure.models import weights
from lit_pure.models.next_token import NextTokenBackbone

log = logging.getLogger(__name__)

OUTER = {"model.embed_tokens": "embed", "model.norm": "norm", "lm_head": "head"}
LAYER = {
    **{f"self_attn.{name}_proj": f"attention.{name}" for name in "qkv"},
    "self_attn.o_proj": "attention.out",
    **{f"self_attn.{name}_norm": f"attention.{name}_norm" for name in "qk"},
    **{f"mlp.{name}_proj": f"ffn.{name}" for name in ("gate", "up", "down")},
    "input_layernorm": "attention_norm",
    "post_attention_layernorm": "ffn_norm",
}
"""Their module in a layer -> ours."""
UNUSED = "model.vqmodel."
"""Chameleon's own picture tokenizer, which PURE does not use: dropped."""
SMALLEST_VQ = {"base_channels": 32, "channel_multiplier": [1], "num_res_blocks": 1, "num_embeddings": 4, "embed_dim": 8}
"""Their model always builds a picture tokenizer; this is the smallest possible one, since it is not used."""
SIZES = {
    "width": "hidden_size",
    "layers": "num_hidden_layers",
    "heads": "num_attention_heads",
    "ffn": "intermediate_size",
}
NORM_EPS = 1e-5
"""Chameleon's epsilon of the query and key norms; its config states only that of the other norms."""
POSITIONS = 11_776
"""max_position_embeddings in PURE's training: two squares of 512 px and more. No tensor depends on it; PURE's code and
transformers take it as the greatest length of what they write."""
WITHOUT_COUNTERPART = {
    "swin_norm": (False, "our norms are before each part, not after it"),
    "attention_bias": (False, "our projections have no biases"),
    "mlp_bias": (False, "our projections have no biases"),
    "tie_word_embeddings": (False, "our head is not the embedding"),
    "hidden_act": ("silu", "our feed-forward is gated by SiLU"),
    "rope_scaling": (None, "our rotary angles are not scaled"),
    "rms_norm_eps": (NORM_EPS, "all our norms have the epsilon of Chameleon's query and key norms"),
}
"""Key of config.json -> the only value that our model can represent, and why."""
OFFICIAL_IDS = 73728
"""Size of PURE's vocabulary: Chameleon's 65,536 ids and 8,192 more image codes."""
OLD_IDS, OLD_CODES, FIRST_CODE = 65536, 8192, 4


def backbone_config(theirs: Mapping[str, Any], source: Path) -> BackboneConfig:
    """Our config for their config.json. Raises ValueError naming key and value of what cannot be represented."""
    for key, (legal, why) in WITHOUT_COUNTERPART.items():
        if theirs.get(key, legal) != legal:
            raise ValueError(
                f"{source}: {key} = {theirs[key]!r} cannot be represented: {why}; choose another checkpoint"
            )
    rope = theirs.get("rope_parameters") or {}
    if rope.get("rope_type", "default") != "default":
        raise ValueError(f"{source}: rope_parameters = {rope} cannot be represented: our rotary angles are not scaled")
    if absent := [key for key in (*SIZES.values(), "vocab_size") if not isinstance(theirs.get(key), int)]:
        raise ValueError(f"{source} has no {', '.join(absent)}; give the config.json of the checkpoint")
    sizes = {ours: theirs[key] for ours, key in SIZES.items()}
    if (groups := theirs.get("num_key_value_heads", sizes["heads"])) != sizes["heads"]:
        raise ValueError(
            f"{source}: num_key_value_heads = {groups} differs from num_attention_heads = {sizes['heads']}: our heads "
            "do not share keys; choose another checkpoint"
        )
    theta = rope.get("rope_theta", theirs.get("rope_theta", BackboneConfig.rope_theta))
    dropout = theirs.get("dropout", BackboneConfig.dropout)
    return BackboneConfig(**sizes, rope_theta=float(theta), norm_eps=NORM_EPS, dropout=float(dropout))


def chameleon_config(
    config: BackboneConfig, vocabulary: Vocabulary, norm_rows: int, dtype: torch.dtype
) -> dict[str, Any]:
    """Their config.json for our config, readable by PURE's code and, with `norm_rows` = heads, by transformers."""
    if config.norm_eps != NORM_EPS:
        raise ValueError(f"norm_eps = {config.norm_eps} cannot be written: Chameleon's layout has only {NORM_EPS}")
    if config.lq_prior:
        raise ValueError(
            f"backbone.lq_prior = {config.lq_prior} cannot be written: Chameleon's layout has no prior, and without it "
            "the weights draw other codes; name a run with backbone.lq_prior=0, for example pure/nano/shipped"
        )
    return {
        "architectures": ["ChameleonForConditionalGeneration"],
        "model_type": "chameleon",
        **{key: getattr(config, ours) for ours, key in SIZES.items()},
        "num_key_value_heads": config.heads,
        "model_parallel_size": norm_rows,
        "rms_norm_eps": config.norm_eps,
        "rope_theta": config.rope_theta,
        "dropout": config.dropout,
        **{key: legal for key, (legal, _) in WITHOUT_COUNTERPART.items()},
        "attention_dropout": 0.0,
        "max_position_embeddings": POSITIONS,
        "vocab_size": vocabulary.size,
        "bos_token_id": vocabulary.bos,
        "pad_token_id": vocabulary.pad,
        "eos_token_id": vocabulary.turn_end,
        # With the real table their model would overwrite the logits of image codes.
        "vocabulary_map": {},
        "vq_config": SMALLEST_VQ,
        "torch_dtype": str(dtype).removeprefix("torch."),
    }


def key_table(layers: int) -> dict[str, str]:
    """Their names -> ours, for all tensors."""
    modules = dict(OUTER)
    for layer in range(layers):
        modules |= {f"model.layers.{layer}.{theirs}": f"blocks.{layer}.{ours}" for theirs, ours in LAYER.items()}
    table = {f"{theirs}.weight": f"{ours}.weight" for theirs, ours in modules.items()}
    return table | {f"{t}.bias": f"{o}.bias" for t, o in modules.items() if o.endswith(("q_norm", "k_norm"))}


def from_chameleon(
    state: Mapping[str, Tensor], config: BackboneConfig, rows: int, source: Path, remedy: str
) -> dict[str, Tensor]:
    """Our state dict from theirs: the same tensors under our names. Raises ValueError naming what does not fit."""
    table = key_table(config.layers)
    used = {name: item for name, item in unwrapped(state, table).items() if not name.startswith(UNUSED)}
    with torch.device("meta"):
        ours = shapes(NextTokenBackbone(config, rows).state_dict())
    wanted = {theirs: ours[name] for theirs, name in table.items()}
    norms = {name for name in used if name in wanted and "_norm." in name and used[name].ndim == 2 and len(used[name])}
    found = {name: shape[1:] if name in norms else shape for name, shape in shapes(used).items()}
    require_shapes(found, wanted, source, remedy)
    if differing := sorted(name for name in norms if not torch.equal(used[name], used[name][:1].expand_as(used[name]))):
        raise ValueError(
            f"{source}: {', '.join(differing[:5])} differ per head ({len(differing)} in all), but our heads share "
            "these weights; choose a checkpoint that was trained so"
        )
    return {table[name]: item[0] if name in norms else item for name, item in used.items()}


def to_chameleon(state: Mapping[str, Tensor], layers: int, norm_rows: int = 1) -> dict[str, Tensor]:
    """Their state dict from ours; query and key norms are repeated to `norm_rows` equal rows."""
    theirs = {name: state[ours] for name, ours in key_table(layers).items()}
    per_head = (".q_norm.", ".k_norm.")
    return {
        name: item.expand(norm_rows, -1).clone() if any(part in name for part in per_head) else item
        for name, item in theirs.items()
    }


def read_chameleon(folder: Path, vocabulary_file: Path, remedy: str) -> tuple[NextTokenBackbone, Vocabulary]:
    """A backbone, frozen, in the dtype of the checkpoint, and its vocabulary. Raises ValueError with the remedy."""
    path = folder / "config.json"
    theirs = read_json(path, remedy)
    config = backbone_config(theirs, path)
    vocabulary = Vocabulary.from_file(vocabulary_file)
    refuse_other_vocabulary(vocabulary.size, theirs["vocab_size"], vocabulary_file)
    if vocabulary.size == OFFICIAL_IDS:
        check_official_ids(Tokenizer.from_file(str(vocabulary_file)).get_vocab(with_added_tokens=True), vocabulary_file)
    state = from_chameleon(read_folder(folder, remedy), config, vocabulary.size, folder, remedy)
    return weights.load_frozen(lambda: NextTokenBackbone(config, vocabulary.size), state, folder), vocabulary


def refuse_other_vocabulary(ids: int, rows: int, source: Path) -> None:
    """Raises ValueError unless the embedding has one row per id of the vocabulary."""
    if ids != rows:
        raise ValueError(
            f"the checkpoint has {rows:,} rows, the vocabulary {ids:,} ids: the vocabularies differ; give the "
            f"tokenizer JSON that the checkpoint was trained with instead of {source}"
        )


def check_official_ids(ids: Mapping[str, int], source: Path) -> None:
    """Compare a vocabulary of PURE's size with the official ids. Raises ValueError where confirmed ids differ.

    The order of the upper half of the codes is not confirmed: there the file is trusted, and differences are logged.
    """
    confirmed = {"<s>": 0, "<pad>": 1, "</s>": 2, "<unk>": 3, "<eoss>": 8196, "<racm3:break>": 8197}
    confirmed |= {code_name(code): FIRST_CODE + code for code in range(OLD_CODES)}
    reserved = (name for name in ids if name.startswith("<reserved") and name[9:-1].isdigit())
    # All reserved names follow this rule, including those of sides, newline and end of turn.
    confirmed |= {name: int(name[9:-1]) + 4 for name in reserved}
    wrong = [
        f"{name} is {ids.get(name)} instead of {token}" for name, token in confirmed.items() if ids.get(name) != token
    ]
    upper = {name: token for name, token in ids.items() if CODE.fullmatch(name) and name not in confirmed}
    if set(upper.values()) != set(range(OLD_IDS, OFFICIAL_IDS)):
        wrong.append(f"the codes from {OLD_CODES} on are not the ids {OLD_IDS} to {OFFICIAL_IDS - 1}")
    if wrong:
        raise ValueError(
            f"{source} is not PURE's vocabulary: {'; '.join(wrong[:5])} ({len(wrong)} in all); "
            "give its text_tokenizer.json"
        )
    expected = {code_name(OLD_CODES + i): OLD_IDS + i for i in range(OFFICIAL_IDS - OLD_IDS)}
    if moved := [name for name, token in expected.items() if upper.get(name) != token]:
        log.warning(
            "%s: %d of the upper 8,192 codes have unexpected ids (first %s); the file is trusted",
            source, len(moved), moved[0],
        )  # fmt: skip


def write_chameleon(folder: Path, backbone: NextTokenBackbone, vocabulary: Vocabulary, norm_rows: int = 1) -> None:
    """Write a folder that PURE's code reads (transformers asks for `norm_rows` = heads). Raises ValueError."""
    config = chameleon_config(backbone.config, vocabulary, norm_rows, backbone.embed.weight.dtype)
    weights.write_state(folder, to_chameleon(backbone.state_dict(), backbone.config.layers, norm_rows))
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    write_tokenizer(folder, vocabulary, POSITIONS)
