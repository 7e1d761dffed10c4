"""A LightningModule from a checkpoint of a run, without a Trainer; and what Lightning's own ways say to the folder."""

from pathlib import Path

import pytest
import torch
from lightning import Trainer

from lit_pure.lit.distributed.loading import fill
from lit_pure.lit.distributed.saving import model_state
from lit_pure.lit.modules import load_module
from lit_pure.lit.pure import ARModule
from lit_pure.lit.run_module import RunModule
from lit_pure.runs import checkpoints
from lit_pure.runs import folder as runs


def newest(name: str) -> Path:
    found = checkpoints.newest(runs.require(name).folder / checkpoints.FOLDER)
    assert found is not None
    return found.folder


@pytest.mark.parametrize("name", ["demo", "tokenizer/nano", "dem/nano"])
def test_a_module_of_each_family_has_the_weights_of_its_checkpoint(house: Path, name: str) -> None:
    if not runs.versions(name):
        pytest.skip(f"this house uses the shipped {name}")
    module = load_module(newest(name))
    state = model_state(module)
    stored = {f"model.{key}": torch.full_like(value, 7) for key, value in state.items()}
    fill(newest(name), stored)
    assert state
    for key, value in state.items():
        torch.testing.assert_close(stored[f"model.{key}"], value, rtol=0, atol=0, equal_nan=True)


def test_what_is_no_checkpoint_of_a_run_is_refused(house: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"is not in the folder of a run; name runs/"):
        load_module(tmp_path / "a" / "b")
    with pytest.raises(ValueError, match="is not a complete checkpoint"):
        load_module(newest("demo").with_name("step=99999999"))


@pytest.mark.parametrize("kind", [ARModule, RunModule])
def test_lightning_s_way_to_load_says_what_reads_our_folders(house: Path, kind: type[RunModule]) -> None:
    with pytest.raises(ValueError, match=r"load_module\(FOLDER\), or write its weights with lit-pure export"):
        kind.load_from_checkpoint(newest("demo"))


def test_a_plain_trainer_is_told_which_strategy_reads_our_folders(house: Path) -> None:
    module, folder = load_module(newest("demo")), newest("demo")
    trainer = Trainer(accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False)
    with pytest.raises(ValueError, match=r"is a folder, which this Trainer cannot read; .*strategy_of"):
        trainer.fit(module, [torch.zeros(1)], ckpt_path=folder)
