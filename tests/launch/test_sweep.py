"""`lit-pure sweep` on this machine: what becomes of a sweep when one of its runs fails, is stopped or is killed."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lit_pure.__main__ import main
from lit_pure.launch.local import Processes
from lit_pure.runs import checkpoints
from lit_pure.runs import folder as runs
from tests.launch.conftest import finish


@pytest.fixture
def ran(place: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of what was run, in order; each comes to its end at once, but for those in FATES."""
    names: list[str] = []

    def run(self: Processes, command: list[str]) -> int:
        names.append(command[-1])
        status = FATES.get(command[-1], 0)
        if not status:
            labels = {kind: run.label for kind, name in NEEDS.items() if (run := runs.newest_finished(name))}
            finish(command[-1], needs={} if command[-1] in NEEDS.values() else labels)
        return status

    monkeypatch.setattr(Processes, "run", run)
    monkeypatch.setattr(sys.modules[__name__], "FATES", {})
    return names


NEEDS = {"tokenizer": "tok", "dem": "est"}
FATES: dict[str, int] = {}
"""Exit statuses of runs that do not finish."""


def test_a_sweep_makes_what_it_needs_first_and_uses_what_is_finished(
    ran: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["sweep", "guide"]) == 0
    assert ran == ["tok", "est", "guide/full", "guide/none"]
    table = capsys.readouterr().out
    assert all(f"{name}/version_0 " in table for name in ("guide/full", "guide/none")) and "tok/version_0" not in table
    assert main(["sweep", "guide"]) == 0
    assert len(ran) == 4, "nothing was run"
    said = capsys.readouterr().out
    assert said.count("using guide/") == 2 and said.splitlines()[-2:] == table.splitlines()[-2:]
    assert main(["sweep", "guide", "--again"]) == 0
    assert ran[4:] == ["guide/full", "guide/none"], "not what they need"
    assert "guide/full/version_1 " in capsys.readouterr().out


def test_debug_runs_of_a_sweep_do_not_fail_although_they_leave_nothing(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    commands: list[list[str]] = []
    monkeypatch.setattr(Processes, "run", lambda self, command: commands.append(command) or 0)
    for need in NEEDS.values():
        finish(need)
    assert main(["sweep", "guide", "trainer.fast_dev_run=1"]) == 0
    assert len(commands) == 2 and "failed" not in capsys.readouterr().err
    assert main(["sweep", "guide"]) == 1, "without it, a run that leaves nothing has failed"


def test_a_dry_run_of_a_sweep_prints_commands_and_runs_nothing(
    ran: list[str], place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    needs = {"tokenizer": finish("tok").label, "dem": finish("est").label}
    finish("guide/none", needs=needs)
    assert main(["sweep", "guide", "--dry-run"]) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("# using guide/none/version_0") and second == "lit-pure run guide/full" and not ran


def test_a_variant_that_fails_does_not_stop_the_others(ran: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    FATES.update({"guide/full": 1})
    assert main(["sweep", "guide"]) == 1
    assert ran == ["tok", "est", "guide/full", "guide/none"]
    said = capsys.readouterr()
    assert "guide/none/version_0" in said.out and said.err == "failed: guide/full (exit status 1)\n"
    FATES.clear()
    assert main(["sweep", "guide"]) == 0
    assert ran[4:] == ["guide/full"], "only what is missing"
    FATES.update({"grid/seed=3,mu=4.0": -signal.SIGKILL, "grid/seed=4,mu=4.0": -signal.SIGSEGV})
    assert main(["sweep", "grid"]) == 1
    said = capsys.readouterr()
    assert "seed=3,mu=4.0 (ended by SIGKILL; out of memory?)" in said.err and "(ended by SIGSEGV)" in said.err


def test_variants_that_need_a_failed_run_are_not_tried(ran: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    FATES.update({"est": 1})
    assert main(["sweep", "guide"]) == 1
    assert ran == ["tok", "est"]
    assert "failed: guide/none (needs est, which failed)" in capsys.readouterr().err


def test_a_run_that_was_stopped_stops_the_sweep(ran: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    FATES.update({"guide/full": 143})
    assert main(["sweep", "guide"]) == 143
    assert ran[-1] == "guide/full"
    assert "stopped by SIGTERM in guide/full, 1 more not started; the same command resumes" in capsys.readouterr().err
    FATES.update({"guide/full": 130})
    assert main(["sweep", "guide"]) == 130
    assert "stopped by SIGINT in guide/full, 1 more not started; the same command resumes" in capsys.readouterr().err


def test_settings_for_all_variants_are_part_of_what_is_compared(ran: list[str]) -> None:
    assert main(["sweep", "grid"]) == 0
    assert main(["sweep", "grid", "--dry-run"]) == 0 and len(ran) == 4
    with pytest.MonkeyPatch.context() as patch:
        commands: list[list[str]] = []
        patch.setattr(Processes, "run", lambda self, command: commands.append(command) or 1)
        assert main(["sweep", "grid", "trainer.max_steps=7"]) == 1
    assert [command[-2:] for command in commands] == [
        [f"grid/seed={seed},mu=4.0", "trainer.max_steps=7"] for seed in (3, 4)
    ]


@pytest.mark.slow
def test_a_sweep_that_was_killed_resumes_where_it_was(house: Path) -> None:
    """kill -9 in the middle of the second variant: its run goes on, the first one is used as it is."""
    (house / "experiments" / "sweeps" / "killed.yaml").write_text(
        "base: demo\ntrainer: {max_steps: 12, save_every: 2, val_every: 12}\n"
        "evaluation: {metrics: [psnr]}\nsweep:\n  sequence.guidance_mode: [none, understanding]\n"
    )
    first, second = (f"sweeps/killed/guidance_mode={mode}" for mode in ("none", "understanding"))
    command = [sys.executable, "-m", "lit_pure", "sweep", "sweeps/killed"]
    folder = house / "runs" / second / "version_0"
    with (house / "killed.log").open("w") as log, subprocess.Popen(command, stdout=log, stderr=log) as killed:
        while not (saved := checkpoints.newest(folder / checkpoints.FOLDER)) and killed.poll() is None:
            time.sleep(0.05)
        assert saved, (house / "killed.log").read_text()
        os.kill(killed.pid, signal.SIGKILL)
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert f"using {first}/version_0" in done.stdout
    assert f"run {second}/version_0, resumed from step " in done.stderr, done.stderr
    for name in (first, second):
        assert [run.finished for run in runs.versions(name)] == [True], "no second run was begun"
        assert f"{name}/version_0 " in done.stdout and runs.versions(name)[0].summary()["steps"] == 12
