"""PURE's layout: transformers' Chameleon as oracle, exact round trips, and refusals by name."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub import save_torch_state_dict
from torch import Tensor
from transformers import ChameleonConfig, ChameleonForConditionalGeneration
from transformers.models.chameleon.configuration_chameleon import ChameleonVQVAEConfig

from lit_pure.config.pure import BackboneConfig
from lit_pure.convert import chameleon
from lit_pure.convert.chameleon import (
    POSITIONS,
    backbone_config,
    chameleon_config,
    check_official_ids,
    from_chameleon,
    read_chameleon,
    to_chameleon,
    write_chameleon,
)
from lit_pure.families.pure.sequence.make_vocabulary import make_vocabulary
from lit_pure.families.pure.sequence.vocabulary import code_name
from lit_pure.models.next_token import NextTokenBackbone

VOCABULARY = make_vocabulary(["Medium blur, small noise."] * 3, codes=40, words=280)
SHAPES = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
HERE = Path("checkpoint")


def upstream(shared_norms: bool = True) -> ChameleonForConditionalGeneration:
    """A small random Chameleon; its q and k norms, one row per head, are equal or not."""
    torch.manual_seed(0)
    vq = ChameleonVQVAEConfig(base_channels=32, channel_multiplier=[1], num_res_blocks=1, num_embeddings=4, embed_dim=8)
    config = ChameleonConfig(
        **SHAPES, vocab_size=VOCABULARY.size, num_key_value_heads=4, vocabulary_map={}, vq_config=vq.to_dict(),
        max_position_embeddings=128, rope_theta=500.0, pad_token_id=None, bos_token_id=None, eos_token_id=None,
    )  # fmt: skip
    model = ChameleonForConditionalGeneration(config).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            torch.nn.init.normal_(parameter, mean=float(parameter.ndim == 1), std=0.2)
            if shared_norms and ("q_norm" in name or "k_norm" in name):
                parameter.copy_(parameter[:1].expand_as(parameter))
    return model


def without_vq(state: dict[str, Tensor], norm_rows: int) -> dict[str, Tensor]:
    """What is left of upstream's state in PURE's checkpoints, with that many rows of norms."""
    return {
        name: item[:norm_rows].clone() if "_norm." in name and item.ndim == 2 else item
        for name, item in state.items()
        if not name.startswith("model.vqmodel.")
    }


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(a[key].dtype == b[key].dtype and torch.equal(a[key], b[key]) for key in a)


@pytest.mark.parametrize("norm_rows", [1, 4])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_chameleon_folder_converted_there_and_back_is_the_same(norm_rows: int, dtype: torch.dtype) -> None:
    model = upstream().to(dtype)
    config = backbone_config(model.config.to_dict(), HERE)
    theirs = without_vq(model.state_dict(), norm_rows)
    ours = from_chameleon(model.state_dict(), config, VOCABULARY.size, HERE, "")
    assert same(to_chameleon(ours, config.layers, norm_rows), theirs)
    assert same(to_chameleon(from_chameleon(theirs, config, VOCABULARY.size, HERE, ""), 2, norm_rows), theirs)


@pytest.mark.parametrize("kind", ["one safetensors", "safetensors in shards", "one bin", "bin in shards", "pure"])
def test_logits_of_a_chameleon_folder_are_those_of_transformers(tmp_path: Path, kind: str) -> None:
    model, folder = upstream(), tmp_path / "c"
    folder.mkdir()
    shard: int | str = 20_000 if "shards" in kind else "5GB"
    if "bin" in kind:
        save_torch_state_dict(model.state_dict(), folder, safe_serialization=False, max_shard_size=shard)
        model.config.save_pretrained(folder)
    elif kind == "pure":
        save_torch_state_dict(without_vq(model.state_dict(), 1), folder)
        model.config.save_pretrained(folder)
    else:
        model.save_pretrained(folder, max_shard_size=shard)
    assert (len(list(folder.glob("*0000*"))) > 1) == ("shards" in kind)
    VOCABULARY.save(tmp_path / "v.json")
    backbone, vocabulary = read_chameleon(folder, tmp_path / "v.json", "")
    ids_BT = torch.randint(VOCABULARY.size, (2, 17))
    with torch.no_grad():
        difference = (backbone.logits(ids_BT) - model(input_ids=ids_BT).logits).abs().max()
    assert float(difference) <= 1e-5 and vocabulary.size == VOCABULARY.size
    assert not any(parameter.requires_grad for parameter in backbone.parameters())


@pytest.mark.parametrize("shard", [5_000_000_000, 20_000])
def test_transformers_reads_the_chameleon_folder_that_we_write(
    tmp_path: Path, shard: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lit_pure.models.weights.LARGEST_FILE", shard)
    torch.manual_seed(0)
    backbone = NextTokenBackbone(BackboneConfig(32, 2, 4, 48, rope_theta=500.0), VOCABULARY.size).eval()
    write_chameleon(tmp_path / "out", backbone, VOCABULARY, norm_rows=4)
    model = ChameleonForConditionalGeneration.from_pretrained(tmp_path / "out").eval()
    ids_BT = torch.randint(VOCABULARY.size, (1, 9))
    with torch.no_grad():
        assert float((backbone.logits(ids_BT) - model(input_ids=ids_BT).logits).abs().max()) <= 1e-5
    assert model.config.max_position_embeddings == POSITIONS
    again, vocabulary = read_chameleon(tmp_path / "out", tmp_path / "out" / "text_tokenizer.json", "")
    assert same(again.state_dict(), backbone.state_dict()) and vocabulary.codes == 40


def test_a_backbone_with_a_prior_is_not_written_without_it(tmp_path: Path) -> None:
    backbone = NextTokenBackbone(BackboneConfig(32, 2, 4, 48, lq_prior=10.0), VOCABULARY.size)
    with pytest.raises(ValueError, match=r"lq_prior = 10\.0 cannot be written: Chameleon's layout has no prior"):
        write_chameleon(tmp_path / "out", backbone, VOCABULARY)
    assert not (tmp_path / "out").exists()


def test_every_misfit_of_a_chameleon_folder_is_refused_by_name() -> None:
    config = BackboneConfig(32, 2, 4, 48)
    state = without_vq(upstream().state_dict(), 1)
    del state["model.layers.1.mlp.up_proj.weight"]
    state["model.layers.2.mlp.up_proj.weight"] = torch.zeros(48, 32)
    state["model.norm.weight"] = torch.zeros(31)
    with pytest.raises(ValueError) as refusal:
        from_chameleon(state, config, VOCABULARY.size, HERE, "download it again")
    words = str(refusal.value)
    assert "1 missing: model.layers.1.mlp.up_proj.weight" in words and "download it again" in words
    assert "1 unknown: model.layers.2.mlp.up_proj.weight" in words and "\n" not in words
    assert "1 of another shape: model.norm.weight [31] instead of [32]" in words
    with pytest.raises(ValueError, match=r"29 missing: lm_head.weight, (\S+, ){4}\.\.\.;"):
        from_chameleon({}, config, VOCABULARY.size, HERE, "")


def test_norms_that_differ_between_heads_are_refused_by_name() -> None:
    state = upstream(shared_norms=False).state_dict()
    with pytest.raises(ValueError, match=r"layers\.0\.self_attn\.k_norm\.bias.*differ per head \(8 in all\)"):
        from_chameleon(state, BackboneConfig(32, 2, 4, 48), VOCABULARY.size, HERE, "")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"swin_norm": True}, "swin_norm = True"),
        ({"attention_bias": True}, "attention_bias = True"),
        ({"hidden_act": "gelu"}, "hidden_act = 'gelu'"),
        ({"rope_scaling": {"type": "linear", "factor": 2.0}}, "rope_scaling = "),
        ({"rope_parameters": {"rope_type": "linear", "factor": 2.0}}, "rope_parameters = "),
        ({"num_key_value_heads": 2}, "num_key_value_heads = 2"),
        ({"rms_norm_eps": 1e-6}, "rms_norm_eps = 1e-06"),
        ({"tie_word_embeddings": True}, "tie_word_embeddings = True"),
        ({"hidden_size": None}, "has no hidden_size"),
    ],
)
def test_a_chameleon_config_that_we_cannot_represent_is_refused(change: dict[str, Any], words: str) -> None:
    theirs = {**SHAPES, "vocab_size": 9, "num_key_value_heads": 4, "hidden_act": "silu", "rms_norm_eps": 1e-5, **change}
    with pytest.raises(ValueError, match=f"^config.json.*{words}"):
        backbone_config(theirs, Path("config.json"))


def test_both_spellings_of_the_rotary_base_are_read() -> None:
    theirs = {**SHAPES, "vocab_size": 9}
    assert backbone_config({**theirs, "rope_theta": 7.0}, HERE).rope_theta == 7.0
    newer = {**theirs, "rope_parameters": {"rope_theta": 7.0, "rope_type": "default"}}
    assert backbone_config(newer, HERE) == backbone_config({**theirs, "rope_theta": 7}, HERE)
    config = backbone_config(newer, HERE)
    assert backbone_config(chameleon_config(config, VOCABULARY, 1, torch.float32), HERE) == config


def test_a_checkpoint_of_another_vocabulary_is_refused(tmp_path: Path) -> None:
    upstream().save_pretrained(tmp_path)
    make_vocabulary(["a"], codes=41, words=280).save(tmp_path / "v.json")
    with pytest.raises(ValueError, match="the vocabularies differ; give the tokenizer JSON"):
        read_chameleon(tmp_path, tmp_path / "v.json", "")
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "vocab_size": 7}))
    with pytest.raises(ValueError, match=r"has 7 rows, the vocabulary \d+ ids"):
        read_chameleon(tmp_path, tmp_path / "v.json", "")


def official_ids() -> dict[str, int]:
    """The layout of the official vocabulary as its public descriptions give it, words of text left out."""
    ids = {"<s>": 0, "<pad>": 1, "</s>": 2, "<unk>": 3, "<eoss>": 8196, "<racm3:break>": 8197}
    ids |= {code_name(code): 4 + code if code < 8192 else 65536 + code - 8192 for code in range(16384)}
    return ids | {f"<reserved{number:05d}>": number + 4 for number in (8706, 8799, *range(8801, 8865))}


def test_official_ids_are_compared_with_the_published_layout(caplog: pytest.LogCaptureFixture) -> None:
    check_official_ids(official_ids(), HERE)
    assert not caplog.records
    swapped = official_ids()
    upper = code_name(9000), code_name(9001)
    swapped |= dict(zip(upper, (swapped[upper[1]], swapped[upper[0]]), strict=True))
    check_official_ids(swapped, HERE)
    assert "2 of the upper 8,192 codes have unexpected ids" in caplog.text and "the file is trusted" in caplog.text


@pytest.mark.parametrize(
    ("name", "token"), [("<racm3:break>", 8198), (code_name(17), 20), ("<reserved08816>", 8800), (code_name(9000), 70)]
)
def test_ids_against_the_published_layout_are_refused(name: str, token: int) -> None:
    with pytest.raises(ValueError, match="is not PURE's vocabulary") as refusal:
        check_official_ids({**official_ids(), name: token}, HERE)
    assert name in str(refusal.value) or "codes from 8192 on" in str(refusal.value)


def test_official_ids_are_compared_at_the_official_size_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    upstream().save_pretrained(tmp_path)
    VOCABULARY.save(tmp_path / "v.json")
    monkeypatch.setattr(chameleon, "OFFICIAL_IDS", VOCABULARY.size)
    with pytest.raises(ValueError, match=r"v\.json is not PURE's vocabulary"):
        read_chameleon(tmp_path, tmp_path / "v.json", "")
