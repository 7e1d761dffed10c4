"""Weights on disk: what is written is read, and what does not fit is named."""

import json
import stat
from pathlib import Path

import pytest
import torch

from lit_pure import weights
from lit_pure.backbone.next_token import NextTokenBackbone
from lit_pure.config.models import BackboneConfig, DemConfig, VQConfig
from lit_pure.degradation.dem import DegradationEstimator
from lit_pure.tokens.text import make_vocabulary
from lit_pure.tokens.vq import VQTokenizer

VQ = VQConfig(stem=4, channels=[32, 32], res_blocks=1, attention=False, z_channels=8, codes=20)


def same(a: torch.nn.Module, b: torch.nn.Module) -> bool:
    ours, theirs = a.state_dict(), b.state_dict()
    return ours.keys() == theirs.keys() and all(torch.equal(ours[key], theirs[key]) for key in ours)


def test_all_three_kinds_survive(tmp_path: Path) -> None:
    tokenizer = VQTokenizer(VQ)
    weights.save_tokenizer(tmp_path / "t", tokenizer)
    assert same(weights.load_tokenizer(tmp_path / "t"), tokenizer)
    dem = DegradationEstimator(DemConfig(features=[4], blocks=[1], downscales=[2]))
    dem.calibrate(torch.rand(9, 2))
    weights.save_dem(tmp_path / "d", dem)
    assert same(weights.load_dem(tmp_path / "d"), dem)
    vocabulary = make_vocabulary(["a cat"], codes=20, words=260)
    backbone = NextTokenBackbone(BackboneConfig(width=32, layers=1, heads=2, ffn=16), vocabulary.size)
    weights.save_pure(tmp_path / "p", backbone, vocabulary)
    read, words = weights.load_pure(tmp_path / "p")
    assert same(read, backbone) and words.size == vocabulary.size
    assert not read.training and not any(item.requires_grad for item in read.parameters())


def test_others_may_read_them(tmp_path: Path) -> None:
    weights.save_tokenizer(tmp_path, VQTokenizer(VQ))
    assert (tmp_path / "model.safetensors").stat().st_mode & stat.S_IROTH
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.json", "model.safetensors"]


def test_what_does_not_fit_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="config.json cannot be read"):
        weights.load_tokenizer(tmp_path)
    weights.save_tokenizer(tmp_path, VQTokenizer(VQ))
    with pytest.raises(ValueError, match="kind 'tokenizer', not 'dem'"):
        weights.load_dem(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    config["config"]["codes"] = 21
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match="model.safetensors does not fit its config.json.*codebook_ND"):
        weights.load_tokenizer(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"nothing")
    with pytest.raises(ValueError, match="model.safetensors cannot be read"):
        weights.load_tokenizer(tmp_path)
