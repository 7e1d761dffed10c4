"""SIGTERM, SIGHUP, SIGUSR1 and Ctrl-C in the middle of a step."""

import stat
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.faults.conftest import Ended, launch, resumes
from tests.faults.train import Settings

Straight = Callable[[Settings], Ended]
SAVED = "stopped by {} after step {}; saved; the same command resumes"


@pytest.mark.parametrize(
    ("fault", "accumulate", "name", "status"),
    [
        ("term", 1, "SIGTERM", 143),
        ("term", 2, "SIGTERM", 143),
        ("interrupt", 1, "SIGINT", 130),
        ("hangup", 1, "SIGHUP", 143),
    ],
)
def test_a_signal_saves_the_step_under_way_and_the_same_command_goes_on(
    here: Settings, straight: Straight, fault: str, accumulate: int, name: str, status: int
) -> None:
    here = replace(here, accumulate=accumulate)
    ended = launch(replace(here, fault=fault, steps=(4,)))
    assert ended.statuses == [status]
    assert ended.printed[0][-1] == SAVED.format(name, 5)
    assert ended.last is not None and ended.last.step == 5, "which is not one that is saved anyway"
    resumes(here, straight, 5)


@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
def test_of_two_processes_both_stop_whichever_got_the_signal(here: Settings, straight: Straight, strategy: str) -> None:
    here = replace(here, world=2, strategy=strategy)
    ended = launch(replace(here, fault="usr1", rank=1, steps=(2,)))
    assert ended.statuses == [143, 143]
    assert ended.printed[0] == [SAVED.format("SIGUSR1", 3)] and not ended.printed[1]
    resumes(here, straight, 3)


def test_ctrl_c_that_reaches_one_of_two_processes_stops_both_after_the_same_step(here: Settings) -> None:
    ended = launch(replace(here, world=2, strategy="ddp", fault="interrupt", rank=1, steps=(2,)))
    assert ended.statuses == [130, 130]
    assert ended.printed[0] == [SAVED.format("SIGINT", 3)] and not ended.printed[1]
    assert ended.last is not None and ended.last.step == 3


@pytest.mark.parametrize(
    ("fault", "name", "status"), [("term_twice", "SIGTERM", 143), ("interrupt_twice", "SIGINT", 130)]
)
def test_a_second_signal_ends_training_at_once_even_where_python_does_not_run(
    here: Settings, straight: Straight, fault: str, name: str, status: int
) -> None:
    ended = launch(replace(here, fault=fault))
    assert ended.statuses == [status]
    assert f"stopped at once by a second signal, {name}; the last complete checkpoint is kept" in ended.printed[0]
    resumes(here, straight, 2)


@pytest.mark.parametrize(
    ("fault", "name", "status"), [("term_group", "SIGTERM", 143), ("interrupt_group", "SIGINT", 130)]
)
def test_a_signal_to_the_whole_group_leaves_the_workers_at_their_work(
    here: Settings, straight: Straight, fault: str, name: str, status: int
) -> None:
    here = replace(here, workers=2)
    ended = launch(replace(here, fault=fault, steps=(2,)))
    assert ended.statuses == [status] and ended.printed[0][-1] == SAVED.format(name, 3)
    resumes(here, straight, 3)


@pytest.fixture
def scontrol(tmp_path: Path) -> Path:
    """A double of SLURM's command that writes down what it is asked; fails for job 13."""
    script = tmp_path / "bin" / "scontrol"
    script.parent.mkdir()
    script.write_text(f'#!/bin/sh\n[ "$2" = 13 ] && echo "no such job" >&2 && exit 1\necho "$@" >> {tmp_path}/asked\n')
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    return tmp_path / "asked"


def slurm(asked: Path, **more: str) -> dict[str, str]:
    # Without SLURM_NTASKS Lightning does not take this for one of its own machines.
    return {"PATH": f"{asked.parent / 'bin'}:/usr/bin:/bin", **more}


@pytest.mark.parametrize(
    ("fault", "job", "asked"),
    [
        ("usr1", {"SLURM_JOB_ID": "11"}, "requeue 11\n"),
        ("usr1", {"SLURM_JOB_ID": "12", "SLURM_ARRAY_JOB_ID": "10", "SLURM_ARRAY_TASK_ID": "3"}, "requeue 10_3\n"),
        ("usr1", {}, None),
        ("term", {"SLURM_JOB_ID": "11"}, None),
        ("usr1", {"SLURM_JOB_ID": "13"}, None),
    ],
)
def test_before_its_time_is_up_a_job_goes_back_into_the_queue(
    here: Settings, scontrol: Path, fault: str, job: dict[str, str], asked: str | None
) -> None:
    ended = launch(replace(here, fault=fault, environment=slurm(scontrol, **job)))
    assert ended.statuses == [143] and ended.last is not None and ended.last.step == 4
    assert (scontrol.read_text() if scontrol.exists() else None) == asked
    refused = any("did not go back into the queue (no such job)" in line for line in ended.printed[0])
    assert refused == (job.get("SLURM_JOB_ID") == "13")


def test_one_of_two_processes_asks_for_the_queue(here: Settings, scontrol: Path) -> None:
    ended = launch(
        replace(here, world=2, fault="usr1", rank=1, environment=slurm(scontrol, SLURM_JOB_ID="11"), strategy="ddp")
    )
    assert ended.statuses == [143, 143] and scontrol.read_text() == "requeue 11\n"


def test_where_one_process_is_to_end_and_the_other_to_be_queued_again_both_end(here: Settings, scontrol: Path) -> None:
    job = slurm(scontrol, SLURM_JOB_ID="11")
    ended = launch(replace(here, world=2, fault="usr1_or_term", rank=None, environment=job, strategy="ddp"))
    assert ended.statuses == [143, 143] and ended.printed[0][-1] == SAVED.format("SIGTERM", 4)
    assert not scontrol.exists(), "who asks for an end gets one"
