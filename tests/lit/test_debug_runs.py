"""Debug runs through the command line, and other endings of a training than its last step."""

import csv
import json
import signal
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from safetensors.torch import load_file

from lit_pure.__main__ import main
from lit_pure.runs import checkpoints
from lit_pure.runs import folder as runs
from lit_pure.runs.folder import Run
from tests.lit.test_resume import killed

EARLY = "lightning.pytorch.callbacks.EarlyStopping(monitor='val/loss', patience=1, min_delta=1000)"
"""Ends a training after its second validation."""


@pytest.fixture
def demo(house: Path) -> Iterator[list[str]]:
    """What launches the demo on six photographs, of which a step takes two."""
    yield ["run", "demo", "trainer.max_steps=9", "trainer.val_every=2", "trainer.log_every=1", "data.train.crops=1"]


def newest(name: str) -> Run:
    return Run(runs.versions(name)[-1].folder.absolute())


def curve(run: Run, name: str) -> list[float]:
    with (run.folder / "metrics.csv").open(newline="") as file:
        return [float(row[name]) for row in csv.DictReader(file) if row.get(name)]


@pytest.mark.parametrize("mixin", ["debug/fast", "debug/limit", "debug/profile"])
def test_a_debug_run_never_counts_as_finished_and_is_never_resumed(
    house: Path, mixin: str, capsys: pytest.CaptureFixture[str]
) -> None:
    finished, known = [run.label for run in runs.finished()], runs.versions("demo")
    for number in range(2):
        assert main(["run", "demo", f"mixin={mixin}"]) == 0
        run = runs.versions("debug/demo")[-1]
        assert run.folder.name == f"version_{number}", "the second launch resumed nothing"
    assert "the run never counts as finished" in capsys.readouterr().out
    assert not run.finished and not (run.folder / checkpoints.FOLDER).exists() and run.debugged()["steps"] > 0
    assert [one.label for one in runs.finished()] == finished and runs.versions("demo") == known
    assert runs.newest_finished("debug/demo") is None, "no experiment is built on it"
    assert json.loads((run.folder / "provenance.json").read_text())["needs"]["dem"] == "dem/nano/version_0"
    assert (run.folder / "fit-profile.txt").is_file() == (mixin == "debug/profile")


def test_one_batch_again_and_again_is_learned(house: Path) -> None:
    assert main(["run", "demo", "mixin=debug/overfit", "trainer.max_steps=60"]) == 0
    losses = curve(newest("debug/demo"), "train/loss")
    assert len(losses) == 60 and losses[-1] < 0.75 * losses[0]
    assert sum(after < before for before, after in pairwise(losses)) > 50, "other batches would be easier, or harder"


def test_a_killed_debug_run_leaves_nothing_to_resume(demo: list[str]) -> None:
    command = [*demo, "trainer.limit_test_batches=0"]
    assert killed(command, 3, by=signal.SIGTERM) == 143
    assert not newest("debug/demo").finished and not (newest("debug/demo").folder / checkpoints.FOLDER).exists()


def test_a_training_that_a_callback_ended_and_that_was_killed_is_ended_still(demo: list[str]) -> None:
    command = [*demo, f'trainer.callbacks=["{EARLY}"]']
    assert main(command) == 0
    run = newest("demo")
    assert run.summary()["steps"] == 4
    (run.folder / "summary.json").unlink()  # killed in its test
    assert main(command) == 0
    assert newest("demo").folder == run.folder and run.summary()["steps"] == 4


def test_a_training_that_waits_for_min_steps_ends_there_also_when_it_was_killed_before(demo: list[str]) -> None:
    command = [*demo, f'trainer.callbacks=["{EARLY}"]', "trainer.min_steps=7", "trainer.save_every=1"]
    assert main(command) == 0
    whole = newest("demo")
    assert whole.summary()["steps"] == 7
    killed(command, 6, "trainer.resume=never")
    assert main(command) == 0
    run = newest("demo")
    assert run.folder != whole.folder and [one["step"] for one in run.provenance()["continued"]] == [6]
    assert run.summary()["steps"] == 7
    states = [load_file(one.weights / "model.safetensors") for one in (run, whole)]
    assert all(bool((states[0][key] == states[1][key]).all()) for key in states[1])


def test_a_resumed_training_has_the_epochs_that_its_first_launch_counted(demo: list[str]) -> None:
    command = [*demo, "trainer.max_epochs=2", "trainer.save_every=1"]
    killed(command, 3)
    assert main([*command, "data.batch_size=1"]) == 0
    run = newest("demo")
    assert run.provenance()["max_steps"] == 6 == run.summary()["steps"]
    rates = curve(run, "lr-AdamW")
    assert len(rates) == 6 and max(rates[1:]) == rates[1] > rates[-1], "the learning rate came down over them"


def test_without_a_progress_bar_there_are_no_lines_either(demo: list[str], caplog: pytest.LogCaptureFixture) -> None:
    assert main([*demo, "mixin=debug/fast"]) == 0
    assert "step 1 of 1" in caplog.text
    caplog.clear()
    assert main([*demo, "mixin=debug/fast", "trainer.enable_progress_bar=false"]) == 0
    assert "run debug/demo" in caplog.text and "step 1 of 1" not in caplog.text
