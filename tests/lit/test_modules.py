"""A LightningModule from a checkpoint of a run, without a Trainer, and by Lightning's own ways."""

from pathlib import Path
from typing import Any

import pytest
import torch
from lightning import Trainer

from lit_pure import build
from lit_pure.lit.distributed.loading import fill
from lit_pure.lit.distributed.saving import model_state
from lit_pure.lit.distributed.strategies import FolderCheckpoints, strategy_of
from lit_pure.lit.modules import load_module
from lit_pure.lit.nsarm import NSARMModule
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
def test_lightning_s_way_to_load_takes_the_folder_of_a_run(house: Path, kind: type[RunModule]) -> None:
    module, own = kind.load_from_checkpoint(newest("demo")), load_module(newest("demo"))
    assert same(module.state_dict(), own.state_dict()) and module.config == own.config


@pytest.mark.parametrize(
    ("kind", "given", "said"),
    [
        (NSARMModule, {}, "is a checkpoint of ARModule, not of NSARMModule; load it with ARModule"),
        (ARModule, {"lr": 1e-3}, "takes no lr: settings are those of the checkpoint"),
        (ARModule, {"hparams_file": "hparams.yaml"}, "takes no hparams_file"),
    ],
)
def test_loading_refuses_another_class_and_other_settings(
    house: Path, kind: type[RunModule], given: dict[str, Any], said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        kind.load_from_checkpoint(newest("demo"), **given)


def test_a_plain_trainer_resumes_the_folder_of_a_run(house: Path) -> None:
    """Weights, moments, schedule, step and position: as one of our strategies does, to the last bit."""
    found = []
    for ours in (False, True):
        module, data = build("demo", ["trainer.accelerator=cpu"])
        trainer = plain(max_steps=8, strategy=strategy_of(module.config.trainer) if ours else "auto")
        assert isinstance(trainer.strategy, FolderCheckpoints) is ours
        trainer.fit(module, data, ckpt_path=newest("demo"))
        [optimizer] = trainer.optimizers
        moments = [state["exp_avg"] for state in optimizer.state.values()]
        assert trainer.global_step == 8 and {float(state["step"]) for state in optimizer.state.values()} == {8.0}
        assert data.state_dict()["samples"] == 16
        found.append((module.state_dict(), dict(enumerate(moments))))
    assert all(same(one, other) for one, other in zip(*found, strict=True))
    stored = load_module(newest("demo")).state_dict()
    assert not same(found[0][0], stored), "it trained on"


def test_a_file_that_is_no_checkpoint_of_ours_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "a.ckpt"
    for content, said in ((b"no pickle", "cannot be read as a checkpoint"), ({"a": 1}, "has no state_dict")):
        file.write_bytes(content) if isinstance(content, bytes) else torch.save(content, file)
        with pytest.raises(ValueError, match=said):
            load_module(file)
    torch.save({"state_dict": {}, "hyper_parameters": {"lr": 1}}, file)
    with pytest.raises(ValueError, match="does not hold the settings of an experiment"):
        load_module(file)


def same(one: dict[Any, torch.Tensor], other: dict[Any, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(item, other[name]) for name, item in one.items())


def plain(**settings: Any) -> Trainer:
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "num_sanity_val_steps": 0}
    return Trainer(**{"accelerator": "cpu", "devices": 1, "enable_model_summary": False, **quiet, **settings})
