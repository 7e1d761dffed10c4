"""A training that is killed and launched again is the uninterrupted one, bit for bit."""

import csv
import json
import os
import shutil
import signal
from collections.abc import Iterator
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

RUN = ["run", "demo", "trainer.max_steps=30", "trainer.save_every=5", "trainer.val_every=10", "trainer.log_every=1"]
RUN += ["optim.ema=0.9", "backbone.dropout=0.1", "data.train.crops=1", "data.val.crops=1"]
TIMES = ("data_wait", "data_made", "per_second")


def until_killed(step: int, command: list[str]) -> None:
    """Run a command; before its step of that number, counted from 0, SIGKILL comes."""
    started = Seeding.on_train_batch_start

    def until(self: Seeding, trainer: Trainer, module: LightningModule, batch: Any, batch_idx: int) -> None:
        if trainer.global_step == step:
            os.kill(os.getpid(), signal.SIGKILL)
        started(self, trainer, module, batch, batch_idx)

    Seeding.on_train_batch_start = until  # type: ignore[method-assign]
    main(command)


@pytest.fixture(scope="module")
def straight(built_house: Path) -> Iterator[Run]:
    """30 steps without a break; gone before other tests look for the newest run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(built_house)
        assert main([*RUN, "trainer.resume=never"]) == 0
        run = newest_version()
    yield run
    shutil.rmtree(run.folder)


def newest_version() -> Run:
    return Run(max(Path("runs/demo").glob("version_*"), key=lambda path: int(path.name.rpartition("_")[2])).absolute())


def killed(step: int, *overrides: str) -> None:
    """A launch that ends by SIGKILL."""
    statuses, said = forked(until_killed, step, [*RUN, *overrides])
    assert statuses == [-signal.SIGKILL], said


def curves(run: Run) -> list[dict[str, str]]:
    """metrics.csv without what a clock measured; columns in an order of their own."""
    with (run.folder / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    return [{key: value for key, value in sorted(row.items()) if value and not key.endswith(TIMES)} for row in rows]


def scalars(run: Run, tag: str) -> list[tuple[int, float]]:
    events = EventAccumulator(str(run.folder))
    events.Reload()
    return [(event.step, event.value) for event in events.Scalars(tag)]


@pytest.mark.parametrize("workers", [0, 2])
def test_killed_twice_and_launched_again_it_is_the_uninterrupted_training(
    house: Path, straight: Run, workers: int
) -> None:
    before = set(Path("runs/demo").glob("version_*"))
    changes = [f"data.num_workers={workers}"]
    killed(17, *changes, "trainer.resume=never")
    (folder,) = set(Path("runs/demo").glob("version_*")) - before
    killed(23, *changes)
    assert main([*RUN, *changes]) == 0
    assert set(Path("runs/demo").glob("version_*")) == before | {folder}, "it went on in its folder"
    run = Run(folder)
    assert [item["step"] for item in run.provenance()["continued"]] == [15, 20]
    assert curves(run) == curves(straight)
    losses = scalars(straight, "train/loss")
    assert [step for step, _ in losses] == list(range(30)) and scalars(run, "train/loss") == losses
    assert scalars(run, "val/loss") == scalars(straight, "val/loss")
    ours, theirs = (load_file(item.weights / "model.safetensors") for item in (run, straight))
    assert ours.keys() == theirs.keys() and all(bool((ours[key] == theirs[key]).all()) for key in theirs)
    one, other = run.summary(), straight.summary()
    for key in ("train/loss_first", "train/loss_last", "steps", "test/demo/psnr", "test/demo/niqe"):
        assert one[key] == other[key], key


def test_launched_again_after_its_training_it_only_goes_on_with_the_test(
    house: Path, straight: Run, caplog: pytest.LogCaptureFixture
) -> None:
    summary = (straight.folder / "summary.json").read_text()
    (straight.folder / "summary.json").unlink()
    try:
        assert main(RUN) == 0
        assert f"run demo/{straight.folder.name}, resumed from step 30" in caplog.text
        assert straight.summary()["test/demo/psnr"] == json.loads(summary)["test/demo/psnr"]
    finally:
        (straight.folder / "summary.json").write_text(summary)


def test_a_finished_training_launched_again_begins_anew(house: Path, straight: Run) -> None:
    assert main([*RUN, "trainer.max_steps=2"]) == 0  # other settings
    assert newest_version().folder.name != straight.folder.name
