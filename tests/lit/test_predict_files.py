"""Work shared out to two processes: each item once, errors and deaths that no process waits for, one exit status."""

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from lit_pure.config.training import TrainerConfig
from lit_pure.files.work import InTurn
from lit_pure.lit.predict_files import Processes
from lit_pure.runs.stop import Stopped, first_process, stop_at_once
from tests.forks import forked, ranks

CONFIG = TrainerConfig(accelerator="cpu", devices="2", strategy="ddp", timeout=60.0)
PATIENCE = 100.0
ITEMS = [f"item {number}" for number in range(9)]


@contextmanager
def work(device: Any, *, folder: Path, fault: str) -> Iterator[Callable[[str], tuple[str, torch.Tensor]]]:
    """Notes which process takes an item; one of them comes to harm."""

    def do(item: str) -> tuple[str, torch.Tensor]:
        with (folder / item).open("a") as file:
            file.write(os.environ["RANK"])
        until = time.monotonic() + PATIENCE
        while item == ITEMS[0] and not fault and len({path.read_text() for path in folder.iterdir()} - {""}) < 2:
            assert time.monotonic() < until, "the other process takes nothing"
            time.sleep(0.02)
        if fault == "stopped" and first_process():
            os.kill(os.getpid(), signal.SIGTERM)
        elif fault and not first_process():
            if fault == "died":
                os._exit(9)
            if fault == "failed":
                raise OSError(28, "No space left", "there")
            time.sleep(0.5)
        return f"{item} of {device}", torch.arange(3)

    yield do


def process(folder: Path, fault: str) -> None:
    """One of two."""
    processes = Processes(CONFIG)
    found: dict[int, Any] = {}

    def command() -> int:
        processes(partial(work, folder=folder, fault=fault), ITEMS, found.__setitem__)
        assert [found[number][0] for number in range(len(ITEMS))] == [f"{item} of cpu" for item in ITEMS]
        assert all(made[1].tolist() == [0, 1, 2] for made in found.values())
        return 3

    try:
        with stop_at_once():
            processes.end(command()) if first_process() else processes.follow()
        os._exit(3)
    except Stopped as stopped:
        os._exit(stopped.status)
    except (OSError, ValueError) as error:
        print(f"told: {error}", flush=True)
        processes.end(4)
        os._exit(4)


def idle() -> None:
    """The first of two processes finds nothing to do."""
    processes = Processes(CONFIG)
    processes.end(2) if first_process() else processes.follow()
    sys.exit(2)


def test_each_item_is_taken_once_and_both_processes_end_alike(tmp_path: Path) -> None:
    statuses, said = forked(process, tmp_path, "", environments=ranks(2))
    assert statuses == [3, 3], said
    taken = [(tmp_path / item).read_text() for item in ITEMS]
    assert sorted(set(taken)) == ["0", "1"], "each once, and both had some"


def test_an_error_of_another_process_is_raised_in_the_first(tmp_path: Path) -> None:
    statuses, said = forked(process, tmp_path, "failed", environments=ranks(2))
    assert statuses == [4, 4] and "told: [Errno 28] No space left: 'there'" in said[0] and "told" not in said[1], said


def test_the_death_of_a_process_ends_the_others(tmp_path: Path) -> None:
    statuses, said = forked(process, tmp_path, "died", environments=ranks(2))
    assert statuses[1] == 9 and statuses[0] in (1, 4), (statuses, said)
    assert "process 1 (in its batch 1) died; what was finished stays" in said[0]


def test_a_signal_to_one_process_ends_it_at_once_and_then_the_others(tmp_path: Path) -> None:
    statuses, said = forked(process, tmp_path, "stopped", environments=ranks(2))
    assert statuses[0] == 143 and statuses[1] in (1, 4), (statuses, said)


def test_without_any_work_all_processes_end() -> None:
    assert forked(idle, environments=ranks(2))[0] == [2, 2]


def test_no_process_is_started_for_a_single_item(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("RANK", "0")
    alone, found = dict[int, Any](), dict[int, Any]()
    doing = partial(work, folder=tmp_path, fault="")
    Processes(CONFIG)(doing, ITEMS[1:2], found.__setitem__)
    InTurn(lambda: "cpu")(doing, ITEMS[1:2], alone.__setitem__)
    assert found[0][0] == alone[0][0] == "item 1 of cpu"
