"""A process that dies, hangs or fails, and a data worker that is killed."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, replace

import pytest

from tests.faults import train
from tests.faults.conftest import PATIENCE, Ended, launch, resumes
from tests.faults.train import Settings

Straight = Callable[[Settings], Ended]
KEPT = "the last complete checkpoint is kept; the same command resumes from it"


def errors(lines: list[str]) -> list[str]:
    """From `error: ` on: other workers may have lost the main process in the middle of a word, and say so before it."""
    return [found[0] for line in lines if (found := re.search(r"(?<![A-Za-z])error: .*", line))]


@pytest.mark.parametrize("rank", [0, 1])
def test_where_a_process_dies_the_other_names_it_and_the_step(here: Settings, straight: Straight, rank: int) -> None:
    here = replace(here, world=2, strategy="ddp")
    ended = launch(replace(here, fault="die", rank=rank))
    assert ended.statuses == ([-9, 1] if rank == 0 else [1, -9])
    assert ended.printed[1 - rank] == [f"error: process {rank} (after step 3, in the forward pass) died; {KEPT}"]
    if rank == 1:
        resumes(here, straight, 2)


@pytest.mark.parametrize("rank", [0, 1])
def test_where_a_process_hangs_all_end_and_one_names_it(here: Settings, rank: int) -> None:
    here = replace(here, world=2, strategy="ddp", timeout=3.0, grace=1.0)
    ended = launch(replace(here, fault="hang", rank=rank))
    assert ended.statuses == [1, 1], ended.printed
    (line,) = ended.printed[1 - rank]
    assert line.startswith(f"error: process {rank} (after step 3, in the forward pass) did not ") and KEPT in line
    assert not ended.printed[rank]


def test_where_a_process_fails_both_say_so(here: Settings) -> None:
    ended = launch(replace(here, world=2, strategy="fsdp", fault="wrong", rank=1))
    assert ended.statuses == [1, 1]
    assert ended.printed[1] == ["error: this image has seven legs"]
    assert ended.printed[0] == [
        "error: process 1 (after step 3, in the forward pass) failed: ValueError: this image has seven legs; " + KEPT
    ]


def test_a_killed_worker_is_named_in_a_line(here: Settings, straight: Straight) -> None:
    here = replace(here, workers=2, max_steps=12)
    ended = launch(replace(here, fault="worker"))
    assert ended.statuses == [1]
    found = errors(ended.printed[0])
    assert len(found) == 1, ended.printed[0]
    [error] = found
    assert re.match(r"error: DataLoader worker \(pid\S* \d+\) (is killed by signal: Killed|exited unexpectedly)", error)
    assert error.endswith(KEPT)
    assert ended.last is None or ended.last.step % 2 == 0
    resumes(here, straight, ended.last.step if ended.last else 0)


def test_a_killed_worker_of_another_process_ends_all(here: Settings) -> None:
    ended = launch(replace(here, world=2, strategy="ddp", workers=1, fault="worker", rank=1, max_steps=12))
    assert ended.statuses == [1, 1]
    assert errors(ended.printed[1])[0].startswith("error: DataLoader worker")
    assert errors(ended.printed[0])[0].startswith("error: process 1 (")


@pytest.mark.slow
@pytest.mark.parametrize(("fault", "status"), [("term", 143), ("die", 1)])
def test_a_process_that_started_the_other_neither_outlives_it_nor_is_killed_by_its_end(
    here: Settings, fault: str, status: int
) -> None:
    """Lightning's own way to start processes: the first one runs the same command for the others."""
    here = replace(here, world=2, strategy="ddp", fault=fault, rank=1)
    environment = {name: value for name, value in os.environ.items() if name not in ("LOCAL_RANK", "WORLD_SIZE")}
    done = subprocess.run(
        [sys.executable, "-m", train.__name__, json.dumps(asdict(here))],
        capture_output=True,
        text=True,
        env=environment | {"OMP_NUM_THREADS": "1"},
        timeout=2 * PATIENCE,
    )
    assert done.returncode == status, done.stderr
    lines = [line for line in done.stderr.splitlines() if "step 3" in line or "step 4" in line]
    expected = {
        "term": "stopped by SIGTERM after step 4; saved; the same command resumes",
        "die": f"error: process 1 (after step 3, in the forward pass) died; {KEPT}",
    }
    assert lines == [expected[fault]]
