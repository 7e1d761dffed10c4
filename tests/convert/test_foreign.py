"""Files of other projects: no code in them is run, and a broken one is named with the remedy."""

import argparse
import json
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub import save_torch_state_dict

from lit_pure.convert.foreign import read_folder, read_pickle, tensors, unwrapped

STATE = {f"layer.{i}": torch.full((100,), float(i)) for i in range(6)}


class Payload:
    """What a malicious pickle does: calls something while it is read."""

    def __init__(self, witness: Path) -> None:
        self.witness = witness

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.witness,)


@pytest.mark.parametrize("zipped", [True, False])
def test_code_in_a_pickle_is_refused_and_never_run(tmp_path: Path, zipped: bool) -> None:
    witness, path = tmp_path / "it ran", tmp_path / "vq.pt"
    content = {"model": {"a": torch.zeros(1)}, "args": Payload(witness)}
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(
        ValueError, match=r"vq\.pt contains code besides tensors, which is not run; get it as safetensors"
    ):
        read_pickle(path, "")
    assert not witness.exists()
    pickle.loads(pickle.dumps(Payload(witness)))
    assert witness.exists(), "the payload would have worked"


@pytest.mark.parametrize("content", [b"", b"garbage", b"half"])
def test_an_unreadable_pickle_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "vq.pt"
    torch.save(STATE, path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2] if content == b"half" else content)
    with pytest.raises(ValueError, match=r"vq\.pt cannot be read .*download it again") as refusal:
        read_pickle(path, "download it again")
    assert "\n" not in str(refusal.value)


def test_a_pickle_with_training_arguments_beside_the_model_is_read(tmp_path: Path) -> None:
    torch.save({"model": STATE, "args": argparse.Namespace(lr=1e-4, note="x")}, tmp_path / "vq.pt")
    assert read_pickle(tmp_path / "vq.pt", "")["model"].keys() == STATE.keys()
    torch.save({"model": STATE, "args": argparse.Namespace(bad=Payload(tmp_path / "it ran"))}, tmp_path / "vq.pt")
    with pytest.raises(ValueError, match="contains code"):
        read_pickle(tmp_path / "vq.pt", "")
    assert not (tmp_path / "it ran").exists()


def test_older_pickles_are_read(tmp_path: Path) -> None:
    torch.save(STATE, tmp_path / "vq.pt", _use_new_zipfile_serialization=False)
    assert read_pickle(tmp_path / "vq.pt", "").keys() == STATE.keys()


@pytest.mark.parametrize("safe", [True, False])
@pytest.mark.parametrize("shard", [10_000, 900])
def test_foreign_folders_of_every_kind_are_read(tmp_path: Path, safe: bool, shard: int) -> None:
    save_torch_state_dict(STATE, tmp_path, safe_serialization=safe, max_shard_size=shard)
    found = read_folder(tmp_path, "")
    assert found.keys() == STATE.keys() and all(torch.equal(found[key], STATE[key]) for key in STATE)


@pytest.mark.parametrize("safe", [True, False])
def test_a_missing_shard_and_a_truncated_one_are_named(tmp_path: Path, safe: bool) -> None:
    save_torch_state_dict(STATE, tmp_path, safe_serialization=safe, max_shard_size=900)
    second = next(tmp_path.glob("*00002-of-00003*"))
    content = second.read_bytes()
    second.write_bytes(content[:-40])
    with pytest.raises(ValueError, match=f"{second.name} cannot be read .*download it again"):
        read_folder(tmp_path, "download it again")
    second.unlink()
    with pytest.raises(ValueError, match=f"lacks {second.name}, which .*index.json names; download it again"):
        read_folder(tmp_path, "download it again")


def test_a_file_or_folder_without_weights_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"contains no weights \(looked for model\.safetensors, .*; download it again"):
        read_folder(tmp_path, "download it again")
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weights": 1}))
    with pytest.raises(ValueError, match="is not an index of weight files"):
        read_folder(tmp_path, "")
    (tmp_path / "model.safetensors.index.json").unlink()
    torch.save([1, 2], tmp_path / "pytorch_model.bin")
    with pytest.raises(ValueError, match=r"pytorch_model\.bin contains no table of tensors \(found list\)"):
        read_folder(tmp_path, "")


@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.", "module._orig_mod.", "network.inner."])
@pytest.mark.parametrize("table", ["", "params", "ema", "state_dict", "params_ema"])
def test_a_checkpoint_as_training_scripts_save_it_is_read(prefix: str, table: str) -> None:
    state = {"body.weight": torch.ones(1), "head.bias": torch.zeros(1)}
    stored: dict[str, Any] = {f"{prefix}{name}": item for name, item in state.items()}
    content = {table: stored, "epoch": 3} if table else stored
    assert unwrapped(tensors(content, Path("x.pth"), ""), state) == state


def test_names_that_are_looked_for_keep_their_first_part_and_wrappers_inside_go() -> None:
    one, two = torch.ones(1), torch.zeros(1)
    assert unwrapped({"body._orig_mod.0.w": one, "body.1.w": two}, ["body.0.w", "body.1.w"]) == {
        "body.0.w": one,
        "body.1.w": two,
    }
    assert unwrapped({"a": one}, ["b"]) == {"a": one}


def test_a_checkpoint_without_a_network_says_what_is_there() -> None:
    with pytest.raises(ValueError, match=r"found epoch, optimizer; looked below params, .*torch.save") as caught:
        tensors({"epoch": 1, "optimizer": {}}, Path("x.pth"), "download it again")
    assert "download" not in str(caught.value)
