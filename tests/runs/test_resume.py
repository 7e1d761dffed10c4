"""Which run a launch goes on with."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from lit_pure.config.compose import ConfigError, compose, save
from lit_pure.config.experiment import Experiment
from lit_pure.files.atomic import write_json
from lit_pure.runs import checkpoints, resume
from lit_pure.runs import folder as runs
from lit_pure.runs.resume import Place


@pytest.fixture
def held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ExitStack]:
    """An empty working directory, and what is held until the test ends."""
    monkeypatch.chdir(tmp_path)
    with ExitStack() as stack:
        yield stack


def demo(*overrides: str) -> Experiment:
    return compose("demo", overrides)


def unfinished(number: int, experiment: Experiment, *steps: int) -> Path:
    """A run that was killed, with checkpoints after these steps."""
    folder = Path("runs/demo") / f"version_{number}"
    folder.mkdir(parents=True)
    save(experiment, folder / "config.yaml")
    for step in steps:
        checkpoint(folder, step)
    return folder


def checkpoint(folder: Path, step: int) -> Path:
    made = folder / checkpoints.FOLDER / f"step={step:08d}"
    made.mkdir(parents=True)
    (made / checkpoints.COMPLETE).write_text(json.dumps({"step": step, "files": {}}))
    return made


def finish(folder: Path) -> None:
    (folder / "summary.json").write_text("{}")


def test_it_goes_on_with_the_newest_checkpoint_of_the_newest_unfinished_run(held: ExitStack) -> None:
    unfinished(0, demo(), 10)
    folder = unfinished(1, demo(), 10, 20)
    unfinished(2, demo())  # killed before its first checkpoint
    assert resume.found(demo(), held) == Place(folder, folder / checkpoints.FOLDER / "step=00000020", 20)


def test_an_incomplete_checkpoint_is_not_gone_on_from(held: ExitStack) -> None:
    folder = unfinished(0, demo(), 10)
    (folder / checkpoints.FOLDER / "step=00000020").mkdir()
    place = resume.found(demo(), held)
    assert place is not None and place.step == 10


def test_other_settings_begin_a_new_run_unless_they_only_say_where_it_runs(
    held: ExitStack, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    folder = unfinished(0, demo(), 10)
    assert resume.found(demo("optim.lr=0.001"), held) is None
    assert "demo/version_0" in caplog.text and "optim.lr: 0.0002 -> 0.001" in caplog.text
    elsewhere = demo("trainer.devices=2", "data.num_workers=1", "data.batch_size=4", "trainer.strategy=fsdp")
    place = resume.found(elsewhere, held)
    assert place is not None and place.folder == folder


def test_a_newer_finished_run_of_the_same_settings_ends_it(held: ExitStack) -> None:
    unfinished(0, demo(), 10)
    finish(unfinished(1, demo("optim.lr=0.001"), 10))
    assert resume.found(demo(), held) is not None, "the finished one has other settings"
    finish(unfinished(2, demo(), 10))
    assert resume.found(demo(), held) is None


def test_never_begins_anew_and_who_only_samples_always_does(held: ExitStack) -> None:
    unfinished(0, demo(), 10)
    assert resume.found(demo("trainer.resume=never"), held) is None
    sampling = demo("needs.weights=demo")
    unfinished(1, sampling, 10)
    assert resume.found(sampling, held) is None


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("demo/version_7", "no such run of demo; there are demo/version_0"),
        ("tokenizer/nano/version_0", "no such run of demo"),
        ("demo/version_1", "came to its end"),
        ("demo/version_2", "no complete checkpoint"),
        ("demo/version_3", "optim.lr: 0.001 -> 0.0002"),
    ],
)
def test_a_run_that_is_named_must_be_one_to_go_on_with(held: ExitStack, name: str, words: str) -> None:
    unfinished(0, demo(), 10)
    finish(unfinished(1, demo(), 10))
    unfinished(2, demo())
    unfinished(3, demo("optim.lr=0.001"), 10)
    with pytest.raises(ConfigError, match=words):
        resume.found(demo(f"trainer.resume={name}"), held)


def test_a_named_run_is_gone_on_with_although_newer_ones_stand(held: ExitStack) -> None:
    folder = unfinished(0, demo(), 10)
    unfinished(1, demo(), 20)
    for name in ("demo/version_0", "runs/demo/version_0/"):
        place = resume.found(demo(f"trainer.resume={name}"), held)
        assert place is not None and (place.folder, place.step) == (folder, 10)


HOLDS = """
import sys
from contextlib import ExitStack
from lit_pure.runs import resume
from lit_pure.config.compose import compose
with ExitStack() as held:
    place = resume.found(compose("demo"), held) or resume.begun(compose("demo"), held)
    print(place.folder, flush=True)
    sys.stdin.read()
"""


def test_a_run_that_another_process_writes_to_is_left_alone_until_it_is_killed(held: ExitStack) -> None:
    folder = unfinished(0, demo(), 10)
    assert sys.platform != "win32"
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", HOLDS], stdin=pipe, stdout=pipe, text=True) as other:
        assert other.stdout is not None and other.stdout.readline().strip() == str(folder)
        assert resume.found(demo(), held) is None
        with pytest.raises(ConfigError, match="trained by another process"):
            resume.found(demo("trainer.resume=demo/version_0"), held)
        assert resume.begun(demo(), held).folder.name == "version_1"
        other.kill()
    place = resume.found(demo(), held)
    assert place is not None and place.folder == folder


def test_new_runs_get_folders_of_their_own(held: ExitStack) -> None:
    unfinished(4, demo())
    assert [resume.begun(demo(), held).folder for _ in range(2)] == [
        runs.ROOT / "demo" / "version_5",
        runs.ROOT / "demo" / "version_6",
    ]


def test_provenance_keeps_the_beginning_and_adds_each_launch(held: ExitStack) -> None:
    folder = unfinished(0, demo(), 10)
    told = runs.provenance(0, {"tokenizer": "tokenizer/nano/version_0"}, {}, ["x", "run", "demo"])
    assert resume.facts(Place(folder), told) == told
    for step in (10, 20):
        known = resume.facts(Place(folder, Path("anywhere"), step), told) if step > 10 else told
        write_json(folder / "provenance.json", known)
    again = resume.facts(Place(folder, Path("anywhere"), 30), told | {"needs": {"tokenizer": "other"}})
    assert again["needs"] == told["needs"] and [item["step"] for item in again["continued"]] == [20, 30]
