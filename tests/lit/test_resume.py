"""A training that is killed and launched again is the uninterrupted one, bit for bit; of each family and stage."""

import csv
import json
import os
import shutil
import signal
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from lightning import LightningModule, Trainer
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from lit_pure.__main__ import main
from lit_pure.lit.callbacks.seeding import Seeding
from lit_pure.runs.folder import Run
from tests.forks import forked

TIMES = ("data_wait", "data_made", "per_second")


@dataclass(frozen=True)
class Training:
    """A training that is interrupted twice."""

    name: str
    steps: int
    every: int
    """Steps between checkpoints; a validation comes with every second one."""
    killed: tuple[int, int]
    settings: tuple[str, ...] = ()

    @property
    def command(self) -> list[str]:
        saving = [f"trainer.max_steps={self.steps}", f"trainer.save_every={self.every}"]
        saving += [f"trainer.val_every={2 * self.every}", "trainer.log_every=1"]
        return ["run", self.name, *saving, "optim.ema=0.9", "data.train.crops=1", "data.val.crops=1", *self.settings]


DEMO = Training("demo", 30, 5, (17, 23), ("backbone.dropout=0.1",))
STAGES = [Training(f"nsarm/nano/{stage}", 12, 3, (4, 8)) for stage in ("pretrain", "stage1", "stage2")]
STAGES.append(Training("nsarm/nano/tokenizer", 12, 3, (4, 8)))


def until_killed(step: int, command: list[str], by: int = signal.SIGKILL) -> None:
    """Run a command; before its step of that number, counted from 0, a signal comes."""
    started = Seeding.on_train_batch_start

    def until(self: Seeding, trainer: Trainer, module: LightningModule, batch: Any, batch_idx: int) -> None:
        if trainer.global_step == step:
            trainer.strategy.settle_saving()  # type: ignore[attr-defined]  # what came before is on the disk
            os.kill(os.getpid(), by)
        started(self, trainer, module, batch, batch_idx)

    Seeding.on_train_batch_start = until  # type: ignore[method-assign]
    sys.exit(main(command))


@pytest.fixture(scope="module")
def straight(request: pytest.FixtureRequest, built_house: Path) -> Iterator[tuple[Training, Run]]:
    """All steps without a break; gone, with what it needed, before other tests look for the newest run."""
    training: Training = request.param
    before = set(built_house.rglob("version_*"))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(built_house)
        assert main([*training.command, "trainer.resume=never"]) == 0
        run = newest_version(training)
    yield training, run
    for folder in set(built_house.rglob("version_*")) - before:
        shutil.rmtree(folder)


def each(*trainings: Training) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("straight", trainings, indirect=True, ids=lambda of: of.name)


def newest_version(training: Training) -> Run:
    found = Path("runs", training.name).glob("version_*")
    return Run(max(found, key=lambda path: int(path.name.rpartition("_")[2])).absolute())


def killed(command: list[str], step: int, *overrides: str, by: int = signal.SIGKILL) -> int:
    """The status of a launch that a signal ends."""
    statuses, said = forked(until_killed, step, [*command, *overrides], by)
    assert statuses[0] in (-by, 128 + by), said
    return statuses[0]


def curves(run: Run) -> list[dict[str, str]]:
    """metrics.csv without what a clock measured; columns in an order of their own."""
    with (run.folder / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    return [{key: value for key, value in sorted(row.items()) if value and not key.endswith(TIMES)} for row in rows]


def scalars(run: Run, tag: str) -> list[tuple[int, float]]:
    """By step: TensorBoard reads files by second and process, and a test launches twice within one second."""
    events = EventAccumulator(str(run.folder))
    events.Reload()
    return sorted((event.step, event.value) for event in events.Scalars(tag))


def same(run: Run, straight: Run) -> None:
    """Curves, weights and figures of two runs."""
    assert curves(run) == curves(straight)
    losses = scalars(straight, "train/loss")
    assert [step for step, _ in losses] == list(range(len(losses))) and scalars(run, "train/loss") == losses
    assert scalars(run, "val/loss") == scalars(straight, "val/loss")
    one_state, other_state = (load_file(item.weights / "model.safetensors") for item in (run, straight))
    assert one_state.keys() == other_state.keys()
    assert all(bool((one_state[key] == other_state[key]).all()) for key in other_state)
    one, other = run.summary(), straight.summary()
    for key in ("train/loss_first", "train/loss_last", "steps", *(key for key in other if key.startswith("test/"))):
        assert key.endswith("_per_second") or one[key] == other[key], key


@each(DEMO, *STAGES)
@pytest.mark.parametrize("workers", [0, 2])
def test_killed_twice_and_launched_again_it_is_the_uninterrupted_training(
    house: Path, straight: tuple[Training, Run], workers: int
) -> None:
    training, whole = straight
    if workers and training is not DEMO:
        pytest.skip("photographs come to all of them alike")
    before = set(Path("runs", training.name).glob("version_*"))
    changes, (first, second) = [f"data.num_workers={workers}"], training.killed
    killed(training.command, first, *changes, "trainer.resume=never")
    (folder,) = set(Path("runs", training.name).glob("version_*")) - before
    killed(training.command, second, *changes)
    assert main([*training.command, *changes]) == 0
    assert set(Path("runs", training.name).glob("version_*")) == before | {folder}, "it went on in its folder"
    run = Run(folder)
    resumed = [item["step"] for item in run.provenance()["continued"]]
    assert resumed == [step // training.every * training.every for step in training.killed]
    same(run, whole)


@each(DEMO, *STAGES)
def test_stopped_by_a_signal_and_launched_again_it_is_the_uninterrupted_training(
    house: Path, straight: tuple[Training, Run]
) -> None:
    """In a step without a validation behind it: one that is due just then is not made up for."""
    training, whole = straight
    before = set(Path("runs", training.name).glob("version_*"))
    step = training.killed[0]
    assert killed(training.command, step, "trainer.resume=never", by=signal.SIGTERM) == 143
    (folder,) = set(Path("runs", training.name).glob("version_*")) - before
    assert main(training.command) == 0
    run = Run(folder)
    assert [item["step"] for item in run.provenance()["continued"]] == [step + 1], "saved after the step that it was in"
    same(run, whole)


@each(DEMO)
def test_launched_again_after_its_training_it_only_goes_on_with_the_test(
    house: Path, straight: tuple[Training, Run], caplog: pytest.LogCaptureFixture
) -> None:
    _, run = straight
    summary = (run.folder / "summary.json").read_text()
    (run.folder / "summary.json").unlink()
    try:
        assert main(DEMO.command) == 0
        assert f"run demo/{run.folder.name}, resumed from step 30" in caplog.text
        assert run.summary()["test/demo/psnr"] == json.loads(summary)["test/demo/psnr"]
    finally:
        (run.folder / "summary.json").write_text(summary)


@each(DEMO)
def test_a_finished_training_launched_again_begins_anew(house: Path, straight: tuple[Training, Run]) -> None:
    _, run = straight
    assert main([*DEMO.command, "trainer.max_steps=2"]) == 0  # other settings
    assert newest_version(DEMO).folder.name != run.folder.name
