"""Weights on disk: what is written is read, and what does not fit is named."""

import hashlib
import json
import stat
import subprocess
import sys
import textwrap
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import save_file

from lit_pure.config.bit_tokenizer import BitTokenizerConfig
from lit_pure.config.dem import DemConfig
from lit_pure.config.pure import BackboneConfig
from lit_pure.config.tokenizer import VQConfig
from lit_pure.degradation.dem import DegradationEstimator
from lit_pure.degradation.weights import load_dem, save_dem
from lit_pure.families.pure.sequence.make_vocabulary import make_vocabulary
from lit_pure.families.pure.sequence.vocabulary import Vocabulary
from lit_pure.families.pure.weights import load_pure, save_pure
from lit_pure.models import weights
from lit_pure.models.bit_tokenizer import BitTokenizer
from lit_pure.models.next_token import NextTokenBackbone
from lit_pure.models.vq import VQTokenizer

VQ = VQConfig(stem=4, channels=[32, 32], res_blocks=1, attention=False, z_channels=8, codes=20)


def same(a: torch.nn.Module, b: torch.nn.Module) -> bool:
    ours, theirs = a.state_dict(), b.state_dict()
    return ours.keys() == theirs.keys() and all(torch.equal(ours[key], theirs[key]) for key in ours)


def test_weights_of_all_kinds_are_saved_and_loaded(tmp_path: Path) -> None:
    tokenizer = VQTokenizer(VQ)
    weights.save_tokenizer(tmp_path / "t", tokenizer)
    assert same(weights.load_tokenizer(tmp_path / "t"), tokenizer)
    bitwise = BitTokenizer(BitTokenizerConfig(width=32, multipliers=[1], res_blocks=1, bits=3, patch=1))
    weights.save_bit_tokenizer(tmp_path / "b", bitwise)
    again = weights.load_bit_tokenizer(tmp_path / "b")
    assert same(again, bitwise) and again.config == bitwise.config
    dem = DegradationEstimator(DemConfig(features=[4], blocks=[1], downscales=[2]))
    dem.calibrate(torch.rand(9, 2))
    save_dem(tmp_path / "d", dem)
    assert same(load_dem(tmp_path / "d"), dem)
    vocabulary = make_vocabulary(["a cat"], codes=20, words=260)
    backbone = NextTokenBackbone(BackboneConfig(width=32, layers=1, heads=2, ffn=16), vocabulary.size)
    save_pure(tmp_path / "p", backbone, vocabulary)
    read, words = load_pure(tmp_path / "p")
    assert same(read, backbone) and words.size == vocabulary.size
    assert not read.training and not any(item.requires_grad for item in read.parameters())


def test_weights_say_nothing_of_what_computes_attention(tmp_path: Path) -> None:
    """Older versions read them, and so does a machine that lacks the kernel of the training."""
    backbone, vocabulary = tiny_pure()
    backbone.config.attention = "flash"
    save_pure(tmp_path, backbone, vocabulary)
    assert "attention" not in json.loads((tmp_path / "config.json").read_text())["config"]
    assert load_pure(tmp_path)[0].config.attention == "auto"


def test_saved_weights_may_be_read_by_others(tmp_path: Path) -> None:
    weights.save_tokenizer(tmp_path, VQTokenizer(VQ))
    assert (tmp_path / "model.safetensors").stat().st_mode & stat.S_IROTH
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.json", "model.safetensors"]


def test_weights_that_do_not_fit_are_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="config.json cannot be read"):
        weights.load_tokenizer(tmp_path)
    weights.save_tokenizer(tmp_path, VQTokenizer(VQ))
    with pytest.raises(ValueError, match="kind 'tokenizer', not 'dem'"):
        load_dem(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    config["config"]["codes"] = 21
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match="model.safetensors does not fit its config.json.*codebook_ND"):
        weights.load_tokenizer(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"nothing")
    with pytest.raises(ValueError, match="model.safetensors cannot be read"):
        weights.load_tokenizer(tmp_path)


def tiny_pure() -> tuple[NextTokenBackbone, Vocabulary]:
    vocabulary = make_vocabulary(["a cat"], codes=20, words=260)
    torch.manual_seed(0)
    return NextTokenBackbone(BackboneConfig(width=32, layers=2, heads=2, ffn=16), vocabulary.size), vocabulary


def test_saved_backbones_keep_their_dtype_and_tokenizers_are_float32(tmp_path: Path) -> None:
    backbone, vocabulary = tiny_pure()
    save_pure(tmp_path / "p", backbone.to(torch.bfloat16), vocabulary)
    read, _ = load_pure(tmp_path / "p")
    assert {item.dtype for item in read.parameters()} == {torch.bfloat16} and same(read, backbone)
    weights.save_tokenizer(tmp_path / "t", VQTokenizer(VQ).to(torch.bfloat16))
    assert {item.dtype for item in weights.load_tokenizer(tmp_path / "t").parameters()} == {torch.float32}


def test_large_weights_are_cut_into_files_as_hugging_face_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    backbone, vocabulary = tiny_pure()
    monkeypatch.setattr(weights, "LARGEST_FILE", 30_000)
    save_pure(tmp_path, backbone, vocabulary)
    shards = sorted(path.name for path in tmp_path.glob("*.safetensors"))
    assert len(shards) > 2 and shards[0] == f"model-00001-of-{len(shards):05d}.safetensors"
    index = json.loads((tmp_path / "model.safetensors.index.json").read_text())
    assert (
        set(index["weight_map"].values()) == set(shards) and index["weight_map"].keys() == backbone.state_dict().keys()
    )
    assert same(load_pure(tmp_path)[0], backbone) and weights.verify(tmp_path)
    (tmp_path / shards[1]).rename(tmp_path / "elsewhere")
    for function in (load_pure, weights.verify):
        with pytest.raises(ValueError, match=f"lacks {shards[1]}, which"):
            function(tmp_path)
    monkeypatch.undo()
    save_pure(tmp_path, backbone, vocabulary)
    assert not list(tmp_path.glob("*-of-*")) and not list(tmp_path.glob("*.index.json")) and weights.verify(tmp_path)


def test_checking_weights_compares_with_the_digests_written(tmp_path: Path) -> None:
    weights.save_tokenizer(tmp_path, VQTokenizer(VQ))
    path, config = tmp_path / "model.safetensors", tmp_path / "config.json"
    described, good = json.loads(config.read_text()), path.read_bytes()
    assert described["sha256"] == {path.name: hashlib.sha256(good).hexdigest()} and weights.verify(tmp_path)
    path.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    with pytest.raises(ValueError, match=r"model\.safetensors is not what was written"):
        weights.verify(tmp_path)
    path.write_bytes(good[:-4])
    with pytest.raises(ValueError, match=r"model\.safetensors is incomplete"):
        weights.verify(tmp_path)
    path.unlink()
    with pytest.raises(ValueError, match=r"model\.safetensors is missing"):
        weights.verify(tmp_path)


def test_older_weights_without_digests_load_and_count_as_unchecked(tmp_path: Path) -> None:
    tokenizer = VQTokenizer(VQ)
    save_file(tokenizer.state_dict(), tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps({"kind": "tokenizer", "config": asdict(VQ)}))
    assert same(weights.load_tokenizer(tmp_path), tokenizer) and not weights.verify(tmp_path)


def test_weights_of_another_vocabulary_are_named(tmp_path: Path) -> None:
    backbone, vocabulary = tiny_pure()
    save_pure(tmp_path, backbone, vocabulary)
    make_vocabulary(["a cat"], codes=21, words=260).save(tmp_path / "vocabulary.json")
    rows = vocabulary.size
    words = f"have {rows} rows, vocabulary.json {rows + 1} ids: a checkpoint of another vocabulary; put"
    with pytest.raises(ValueError, match=words):
        load_pure(tmp_path)
    with pytest.raises(ValueError, match=r"vocabulary\.json is not what was written"):
        weights.verify(tmp_path)


def test_saving_weights_on_a_full_disk_leaves_the_old_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer = VQTokenizer(VQ)
    weights.save_tokenizer(tmp_path, tokenizer)

    def full(tensors: object, path: Path, metadata: object) -> None:
        path.write_bytes(b"half")
        raise SafetensorError("No space left on device")

    monkeypatch.setattr(weights, "save_file", full)
    with pytest.raises(
        ValueError, match=r"cannot be written \(No space left on device\); make room, 0\.\d\d GB are needed"
    ):
        weights.save_tokenizer(tmp_path, VQTokenizer(VQ))
    assert same(weights.load_tokenizer(tmp_path), tokenizer) and weights.verify(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.json", "model.safetensors"]


@pytest.mark.skipif(sys.platform != "linux", reason="asks /proc")
def test_reading_weights_copies_nothing(tmp_path: Path) -> None:
    """Tensors are mapped: the process grows by far less than the file is long."""
    code = """
        import resource, sys, torch
        from pathlib import Path
        from safetensors.torch import save_file
        from lit_pure.families.pure.weights import save_pure
        from lit_pure.families.pure.weights import load_pure
        from lit_pure.degradation.weights import save_dem
        from lit_pure.degradation.weights import load_dem
        from lit_pure.models import weights
        class Wide(torch.nn.Module):
            def __init__(self):
                super().__init__()
                self.a = torch.nn.Linear(4096, 8192, bias=False)
        folder = Path(sys.argv[1])
        save_file({"a.weight": torch.zeros(8192, 4096)}, folder / "model.safetensors")
        own = lambda: int(next(l for l in open("/proc/self/status") if l.startswith("RssAnon")).split()[1])
        before = own()
        model = weights.load_frozen(Wide, weights.read_state(folder), folder)
        assert float(model.a.weight.sum()) == 0
        print(own() - before)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code), tmp_path], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 20_000, "kB; the file has 131,072"
