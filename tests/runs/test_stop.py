"""Signals where nothing can be saved."""

import argparse
import os
import signal

import pytest

from lit_pure import __main__ as command_line
from lit_pure.commands import run
from lit_pure.runs.stop import Stopped, stop_at_once


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP", "SIGUSR1"])
def test_a_command_that_is_stopped_says_so_and_ends_by_143(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def asked(_: argparse.Namespace) -> int:
        """Be stopped."""
        os.kill(os.getpid(), getattr(signal, name))
        return 0

    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(run, "run_command", asked)
    assert command_line.main(["run", "any"]) == 143
    assert capsys.readouterr().err == f"stopped by {name}; finished work is kept\n"
    assert signal.getsignal(signal.SIGTERM) == before


def test_of_several_stopped_processes_only_the_first_has_a_message(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCAL_RANK", "1")
    with pytest.raises(Stopped) as stopped, stop_at_once():
        os.kill(os.getpid(), signal.SIGTERM)
    assert (stopped.value.message, stopped.value.status) == ("", 143)


def test_a_lost_data_worker_is_one_line_of_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def loses(_: argparse.Namespace) -> int:
        """Lose it."""
        raise RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed. ")

    monkeypatch.setattr(run, "run_command", loses)
    assert command_line.main(["run", "any"]) == 1
    error = capsys.readouterr().err
    assert error.startswith(
        "error: DataLoader worker (pid 7) is killed by signal: Killed; the last complete checkpoint"
    )


def test_another_runtime_error_is_not_taken_for_a_lost_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(_: argparse.Namespace) -> int:
        """Be wrong."""
        raise RuntimeError("shapes differ")

    monkeypatch.setattr(run, "run_command", wrong)
    with pytest.raises(RuntimeError, match="shapes differ"):
        command_line.main(["run", "any"])
