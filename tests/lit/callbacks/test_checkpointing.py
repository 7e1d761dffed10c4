"""When checkpoints are written, and that training neither waits for them nor breaks with them."""

import logging
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning import Callback, LightningModule, Trainer
from torch.distributed.checkpoint import filesystem

from lit_pure.lit.callbacks.checkpointing import Checkpointing
from lit_pure.lit.distributed.loading import fill, tensors
from lit_pure.lit.distributed.strategies import FolderCheckpoints
from lit_pure.runs import checkpoints
from tests.lit.distributed.saving_process import Data, Tiny, fit

PATIENCE = 60.0
"""Until a test that hangs is given up [s]."""


class After(Callback):
    """Does something after each optimizer step."""

    def __init__(self, act: Callable[[Trainer, LightningModule], None]) -> None:
        self.act, self.step = act, 0

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *rest: Any) -> None:
        if trainer.global_step > self.step:
            self.step = trainer.global_step
            self.act(trainer, pl_module)


def on_opening(monkeypatch: pytest.MonkeyPatch, act: Callable[[Path], None]) -> None:
    """Do something before a file of a checkpoint is opened to be written."""
    real = filesystem.FileSystem.create_stream

    def opened(self: Any, path: Any, mode: str) -> Any:
        if mode == "wb":
            act(Path(path))
        return real(self, path, mode)

    monkeypatch.setattr(filesystem.FileSystem, "create_stream", opened)


def full(path: Path) -> None:
    raise OSError(28, "No space left on device", str(path))


def weights(folder: Path) -> dict[str, torch.Tensor]:
    """The model in a checkpoint."""
    found = {
        name: torch.empty(item.size, dtype=item.properties.dtype)
        for name, item in tensors(folder).items()
        if name.startswith("model.")
    }
    fill(folder, found)
    return {name.removeprefix("model."): tensor for name, tensor in found.items()}


def steps(folder: Path) -> list[int]:
    return [checkpoint.step for checkpoint in checkpoints.complete(folder)]


def test_training_continues_while_a_checkpoint_of_its_own_step_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The writer waits until another step is done, whose weights are others."""
    further, seen = threading.Event(), {}
    on_opening(monkeypatch, lambda path: None if further.wait(PATIENCE) else full(path))

    def act(trainer: Trainer, module: LightningModule) -> None:
        seen[trainer.global_step] = {name: tensor.clone() for name, tensor in module.state_dict().items()}
        if trainer.global_step == 3:
            assert steps(tmp_path) == []
            further.set()

    fit("auto", 1, str(tmp_path), 5, every=2, extra=[After(act)])
    assert steps(tmp_path) == [2, 4, 5], "the end of training is saved, too"
    for step in (2, 4, 5):
        found = weights(checkpoints.path(tmp_path, step))
        assert found.keys() == seen[step].keys() - {"frozen.weight", "frozen.bias"}
        assert all(torch.equal(tensor, seen[step][name]) for name, tensor in found.items())
    assert not torch.equal(seen[2]["first.weight"], seen[3]["first.weight"])


def test_old_checkpoints_are_removed_once_the_new_one_is_complete(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before: dict[str, list[int]] = {}
    on_opening(monkeypatch, lambda path: before.update({path.parent.name: steps(tmp_path)}))
    found = fit("auto", 1, str(tmp_path), 12, every=1, keep_last=2, keep_best=1)
    scored = dict(zip((3, 6, 9, 12), found["val"], strict=True))
    assert before["step=00000003"] == [1, 2], "until the third is complete, two are there"
    assert before["step=00000006"] == [3, 4, 5], "the best, and the last two"
    best = min(scored, key=lambda step: scored[step])
    assert steps(tmp_path) == sorted({best, 11, 12})
    assert checkpoints.read(checkpoints.path(tmp_path, best)).score == pytest.approx(scored[best])  # type: ignore[union-attr]


def test_half_checkpoints_of_a_killed_process_are_cleared_when_training_begins(tmp_path: Path) -> None:
    left = checkpoints.path(tmp_path, 7)
    left.mkdir(parents=True)
    (left / "__3_0.distcp").write_bytes(bytes(100))
    found = fit("auto", 1, str(tmp_path), 2)
    assert found["folders"] == ["step=00000002"]


def test_a_save_that_fails_is_one_warning_and_the_next_one_may_succeed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    straight = fit("auto", 1, str(tmp_path / "straight"), 6)
    on_opening(monkeypatch, lambda path: full(path) if path.parent.name == "step=00000004" else None)
    with caplog.at_level(logging.WARNING, "lit_pure"):
        found = fit("auto", 1, str(tmp_path / "full"), 6)
    assert found["losses"] == straight["losses"]
    assert found["folders"] == ["step=00000002", "step=00000006"]
    (line,) = [record.getMessage() for record in caplog.records if record.name.startswith("lit_pure")]
    folder = tmp_path / "full" / "step=00000004"
    assert line.startswith(f"{folder} could not be written (No space left on device: {folder}")
    assert "step=00000002 is kept" in line and "\n" not in line


def test_the_mark_of_a_complete_checkpoint_is_written_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[str] = []
    real = checkpoints.Path.replace

    def renamed(self: Path, target: Path) -> Path:
        if target.name == checkpoints.COMPLETE:
            synced.extend(sorted(file.name for file in target.parent.iterdir()))
        return real(self, target)

    monkeypatch.setattr(Path, "replace", renamed)
    fit("auto", 1, str(tmp_path), 1)
    assert [name for name in synced if not name.endswith(".tmp")] == [".metadata", "__0_0.distcp", "training.pt"]


def test_a_checkpoint_has_no_moments_of_unused_parameters_and_no_frozen_ones(tmp_path: Path) -> None:
    fit("auto", 1, str(tmp_path), 1)
    names = tensors(checkpoints.path(tmp_path, 1)).keys()
    assert {"model.idle.weight", "model.steps_seen", "mean.idle.weight"} <= names
    assert not any("frozen" in name for name in names)
    moments = {name.split(".")[2] for name in names if name.startswith("optimizer.")}
    assert moments == {"first", "last"}


def test_a_save_now_is_complete_when_it_returns_and_is_not_done_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[str] = []
    on_opening(monkeypatch, lambda path: written.append(path.parent.name))

    def act(trainer: Trainer, module: LightningModule) -> None:
        saving = next(each for each in trainer.callbacks if isinstance(each, Checkpointing))  # type: ignore[attr-defined]
        if trainer.global_step in (2, 3):
            saving.save_now(trainer)
            assert steps(tmp_path)[-1] == trainer.global_step
            saving.save_now(trainer)

    straight = fit("auto", 1, str(tmp_path / "straight"), 6)
    written.clear()
    fit("auto", 1, str(tmp_path), 4, every=2, extra=[After(act)])
    assert written == [f"step={step:08d}" for step in (2, 2, 3, 3, 4, 4)], "tensors and .metadata of each, once"
    again = fit("auto", 1, str(tmp_path / "again"), 6, str(checkpoints.path(tmp_path, 3)))
    assert again["losses"] == straight["losses"][6:], "step 3 was saved before the validation that falls on it"
    assert [again["stepped"], again["model"]] == [straight["stepped"], straight["model"]]


def test_a_save_now_that_fails_raises(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    on_opening(monkeypatch, lambda path: full(path) if path.parent.name == "step=00000003" else None)

    def act(trainer: Trainer, module: LightningModule) -> None:
        if trainer.global_step == 3:
            next(each for each in trainer.callbacks if isinstance(each, Checkpointing)).save_now(trainer)  # type: ignore[attr-defined]

    with pytest.raises(ValueError, match=r"step=00000003 could not be written .*step=00000002 is kept"):
        fit("auto", 1, str(tmp_path), 4, extra=[After(act)])


def test_finishing_a_save_raises_the_error_that_it_met(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    on_opening(monkeypatch, full)

    def act(trainer: Trainer, module: LightningModule) -> None:
        strategy = trainer.strategy
        assert isinstance(strategy, FolderCheckpoints)
        if trainer.global_step == 2:
            strategy.finish_saving()

    with pytest.raises(ValueError, match="there is none before it; make room"):
        fit("auto", 1, str(tmp_path), 4, extra=[After(act)])


def test_a_training_that_fails_completes_the_checkpoint_being_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = threading.Event()
    on_opening(monkeypatch, lambda path: None if broken.wait(PATIENCE) else full(path))

    def act(trainer: Trainer, module: LightningModule) -> None:
        if trainer.global_step == 2:
            broken.set()
            raise RuntimeError("something else")

    with pytest.raises(RuntimeError, match="something else"):
        fit("auto", 1, str(tmp_path), 4, extra=[After(act)])
    assert steps(tmp_path) == [2]


class Remembers(Callback):
    """Has a state that no checkpoint can hold."""

    def state_dict(self) -> dict[str, Any]:
        return {"since": [Path("here")]}


def test_a_state_that_cannot_be_saved_is_named_with_its_owner(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"cannot hold callbacks\.Remembers\.since\.0: it is a PosixPath"):
        fit("auto", 1, str(tmp_path), 2, extra=[Remembers()])


@pytest.mark.parametrize("name", ["__0_0.distcp", ".metadata", "training.pt"])
def test_a_damaged_checkpoint_is_named(tmp_path: Path, name: str) -> None:
    fit("auto", 1, str(tmp_path), 1)
    folder = checkpoints.path(tmp_path, 1)
    file = folder / name
    content = bytearray(file.read_bytes())
    content[20 : len(content) // 2] = bytes(len(content) // 2 - 20)
    file.write_bytes(content)  # of the same size
    with pytest.raises(ValueError, match=f"{folder} cannot be read .*remove it"):
        fit("auto", 1, str(tmp_path / "again"), 2, str(folder))


def test_training_resumes_from_complete_checkpoints_only(tmp_path: Path) -> None:
    fit("auto", 1, str(tmp_path), 1)
    folder = checkpoints.path(tmp_path, 1)
    (folder / checkpoints.COMPLETE).unlink()
    with pytest.raises(ValueError, match="is not a complete checkpoint"):
        fit("auto", 1, str(tmp_path / "again"), 2, str(folder))


class Other(Tiny):
    """One layer has another width, one another name."""

    def __init__(self) -> None:
        super().__init__(False)
        self.last = torch.nn.Linear(5, 4).double()
        self.another, self.idle = self.idle, None  # type: ignore[assignment]


def test_a_checkpoint_of_another_model_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fit("auto", 1, str(tmp_path), 1)
    monkeypatch.setattr("tests.lit.distributed.saving_process.Tiny", lambda *_: Other())
    monkeypatch.setattr(Other, "configure_optimizers", lambda self: torch.optim.AdamW(self.parameters()))
    with pytest.raises(ValueError, match=r"something else: model: another\.bias is missing; .* and 3 more"):
        fit("auto", 1, str(tmp_path / "again"), 2, str(checkpoints.path(tmp_path, 1)))


def test_checkpointing_refuses_strategies_that_are_not_ours(tmp_path: Path) -> None:
    quiet: dict[str, Any] = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    callbacks: list[Callback] = [Checkpointing(tmp_path, 1)]
    trainer = Trainer(max_steps=1, accelerator="cpu", enable_checkpointing=False, callbacks=callbacks, **quiet)
    with pytest.raises(TypeError, match="not SingleDeviceStrategy"):
        trainer.fit(Tiny(False), Data())
