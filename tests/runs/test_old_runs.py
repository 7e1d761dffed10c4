"""Runs written before the families had a folder: they are read, resumed, restored with and exported as before.

`old_runs.zip` holds a tokenizer and a backbone with averaged weights, as small as they can be, made by commit 8128213:
the backbone's run after its 6 steps, with its checkpoint after 3.
"""

import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from lit_pure.__main__ import main
from lit_pure.families.table import restorer_of
from lit_pure.runs import folder as runs
from lit_pure.runs.folder import Run


@pytest.fixture
def old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """The backbone's run, in a working directory of its own."""
    shutil.unpack_archive(Path(__file__).with_name("old_runs.zip"), tmp_path)
    monkeypatch.chdir(tmp_path)
    return runs.require("old/pure")


def test_an_old_run_says_and_restores_what_it_did(old: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert old.summary()["test/demo/psnr"] == 14.39131475351022 and old.experiment().needs.tokenizer == "old/tokenizer"
    [restored] = restorer_of(old).restore(torch.rand(1, 3, 16, 16), ["a"])
    assert restored.image_3HW.shape == (3, 64, 64) and restored.words["blur"] is None, "its mode perceives nothing"
    assert main(["report"]) == 0
    assert "old/pure" in capsys.readouterr().out
    assert main(["gallery", "old/pure", "--out", "page"]) == 0


def test_an_old_checkpoint_is_resumed_to_the_weights_that_it_would_have_had(old: Run) -> None:
    """Those of the old code, which was not interrupted, bit for bit but for what another processor rounds."""
    finished = load_file(old.weights / "model.safetensors")
    shutil.rmtree(old.weights)
    shutil.rmtree(old.folder / "images")
    (old.folder / "summary.json").unlink()
    assert main(["run", "old/pure"]) == 0
    assert [run.folder.name for run in runs.versions("old/pure")] == ["version_0"], "resumed, not begun anew"
    resumed = load_file(old.weights / "model.safetensors")
    assert resumed.keys() == finished.keys()
    for name, tensor in resumed.items():
        torch.testing.assert_close(tensor, finished[name], rtol=1e-4, atol=1e-6)
    assert (old.folder / "metrics.csv").read_text().count("\n") > 6


def test_an_old_checkpoint_is_exported(old: Run) -> None:
    assert main(["export", str(old.folder / "checkpoints" / "step=00000003"), "out"]) == 0
    exported, finished = (load_file(folder / "model.safetensors") for folder in (Path("out"), old.weights))
    assert exported.keys() == finished.keys()
    assert all(exported[name].shape == finished[name].shape for name in exported)
