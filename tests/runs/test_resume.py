"""Which run a launch resumes."""

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
from lit_pure.runs.resume import RunPoint


@pytest.fixture
def locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ExitStack]:
    """An empty working directory, and the locks that the test holds."""
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


def test_the_newest_checkpoint_of_the_newest_unfinished_run_is_resumed(locks: ExitStack) -> None:
    unfinished(0, demo(), 10)
    folder = unfinished(1, demo(), 10, 20)
    unfinished(2, demo())  # killed before its first checkpoint
    assert resume.find_run(demo(), locks) == RunPoint(folder, folder / checkpoints.FOLDER / "step=00000020", 20)


def test_an_incomplete_checkpoint_is_not_resumed(locks: ExitStack) -> None:
    folder = unfinished(0, demo(), 10)
    (folder / checkpoints.FOLDER / "step=00000020").mkdir()
    point = resume.find_run(demo(), locks)
    assert point is not None and point.step == 10


def test_other_settings_start_a_new_run_unless_they_only_say_where_it_runs(
    locks: ExitStack, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    folder = unfinished(0, demo(), 10)
    assert resume.find_run(demo("optim.lr=0.001"), locks) is None
    assert "demo/version_0" in caplog.text and "optim.lr: 0.0002 -> 0.001" in caplog.text
    elsewhere = demo("trainer.devices=2", "data.num_workers=1", "data.batch_size=4", "trainer.strategy=fsdp")
    for longer in ("trainer.max_time=00:01:00:00", "trainer.min_steps=3", "trainer.max_epochs=2"):
        assert resume.find_run(demo(longer), locks) is None, "it would end elsewhere"
    elsewhere.trainer.loggers, elsewhere.trainer.deterministic = ["csv"], True
    point = resume.find_run(elsewhere, locks)
    assert point is not None and point.folder == folder


def test_a_newer_finished_run_of_the_same_settings_starts_a_new_one(locks: ExitStack) -> None:
    unfinished(0, demo(), 10)
    finish(unfinished(1, demo("optim.lr=0.001"), 10))
    assert resume.find_run(demo(), locks) is not None, "the finished one has other settings"
    finish(unfinished(2, demo(), 10))
    assert resume.find_run(demo(), locks) is None


def test_a_debug_run_resumes_none_and_is_in_a_folder_of_its_own(locks: ExitStack) -> None:
    unfinished(0, demo(), 10)
    debugging = demo("trainer.limit_val_batches=1")
    unfinished(1, debugging, 10)
    assert resume.find_run(debugging, locks) is None
    assert resume.start_run(debugging, locks).folder == runs.ROOT / "debug/demo/version_0"
    assert resume.start_run(demo(), locks).folder == runs.ROOT / "demo/version_2"


def test_resume_never_and_sampling_alone_start_a_new_run(locks: ExitStack) -> None:
    unfinished(0, demo(), 10)
    assert resume.find_run(demo("trainer.resume=never"), locks) is None
    sampling = demo("needs.weights=demo")
    unfinished(1, sampling, 10)
    assert resume.find_run(sampling, locks) is None


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("demo/version_7", "no such run of demo; there are demo/version_0"),
        ("tokenizer/nano/version_0", "no such run of demo"),
        ("demo/version_1", "that run is finished"),
        ("demo/version_2", "no complete checkpoint"),
        ("demo/version_3", "optim.lr: 0.001 -> 0.0002"),
    ],
)
def test_a_named_run_that_cannot_be_resumed_is_refused(locks: ExitStack, name: str, words: str) -> None:
    unfinished(0, demo(), 10)
    finish(unfinished(1, demo(), 10))
    unfinished(2, demo())
    unfinished(3, demo("optim.lr=0.001"), 10)
    with pytest.raises(ConfigError, match=words):
        resume.find_run(demo(f"trainer.resume={name}"), locks)


def test_a_named_run_is_resumed_although_newer_ones_exist(locks: ExitStack) -> None:
    folder = unfinished(0, demo(), 10)
    unfinished(1, demo(), 20)
    for name in ("demo/version_0", "runs/demo/version_0/"):
        point = resume.find_run(demo(f"trainer.resume={name}"), locks)
        assert point is not None and (point.folder, point.step) == (folder, 10)


LOCKS = """
import sys
from contextlib import ExitStack
from lit_pure.runs import resume
from lit_pure.config.compose import compose
with ExitStack() as locks:
    point = resume.find_run(compose("demo"), locks) or resume.start_run(compose("demo"), locks)
    print(point.folder, flush=True)
    sys.stdin.read()
"""


def test_a_run_that_another_process_writes_to_is_not_resumed_until_that_is_killed(locks: ExitStack) -> None:
    folder = unfinished(0, demo(), 10)
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", LOCKS], stdin=pipe, stdout=pipe, text=True) as other:
        assert other.stdout is not None and other.stdout.readline().strip() == str(folder)
        assert resume.find_run(demo(), locks) is None
        with pytest.raises(ConfigError, match="another process is training"):
            resume.find_run(demo("trainer.resume=demo/version_0"), locks)
        assert resume.start_run(demo(), locks).folder.name == "version_1"
        other.kill()
    point = resume.find_run(demo(), locks)
    assert point is not None and point.folder == folder


def test_new_runs_get_their_own_folders(locks: ExitStack) -> None:
    unfinished(4, demo())
    assert [resume.start_run(demo(), locks).folder for _ in range(2)] == [
        runs.ROOT / "demo" / "version_5",
        runs.ROOT / "demo" / "version_6",
    ]


def test_provenance_keeps_the_first_launch_and_adds_each_later_one(locks: ExitStack) -> None:
    folder = unfinished(0, demo(), 10)
    launch = runs.provenance(0, {"tokenizer": "tokenizer/nano/version_0"}, {}, ["x", "run", "demo"])
    assert resume.provenance(RunPoint(folder), launch) == launch
    for step in (10, 20):
        known = resume.provenance(RunPoint(folder, Path("anywhere"), step), launch) if step > 10 else launch
        write_json(folder / "provenance.json", known)
    resumed = resume.provenance(RunPoint(folder, Path("anywhere"), 30), launch | {"needs": {"tokenizer": "other"}})
    assert resumed["needs"] == launch["needs"] and [item["step"] for item in resumed["continued"]] == [20, 30]
