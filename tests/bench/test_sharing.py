"""The same photograph on one core, on all, and beside other work: the same pixels, three times."""

import json
import os
from pathlib import Path

import pytest
import torch

from lit_pure.__main__ import main
from lit_pure.bench import sharing
from lit_pure.bench.sharing import WAYS, _require_same, busy


def test_the_command_compares_three_ways(
    house: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    shared = sharing.shared

    def noted(restorer):  # type: ignore[no-untyped-def]
        seen.append(restorer.restoring.workers)
        restorer.restoring.workers = 1  # processes are `tests/restoring/test_shared.py`'s
        return shared(restorer)

    monkeypatch.setattr(sharing, "shared", noted)
    monkeypatch.setattr("lit_pure.commands.bench_restore.MANY", 2)
    file = tmp_path / "cores.json"
    assert main(["bench", "restore", "--run", "demo", "--beside", "--repeat", "1", "--json", str(file)]) == 0
    found, told = json.loads(file.read_text()), capsys.readouterr().out
    assert seen == [1, 0, 0] and found["source"] == [48, 48]
    assert list(found["seconds"]) == list(WAYS) and found["ratios"]["one core"] == 1
    assert "48x48 px of astronaut.png" in told and "beside a busy process" in told


def test_a_busy_process_computes_and_is_gone_afterwards(monkeypatch: pytest.MonkeyPatch) -> None:
    started = []
    popen = sharing.subprocess.Popen
    monkeypatch.setattr(sharing.subprocess, "Popen", lambda *words: started.append(popen(*words)) or started[-1])
    with busy(False):
        assert not started
    with pytest.raises(KeyError), busy(True):
        os.kill(started[0].pid, 0)
        raise KeyError
    assert started[0].returncode == -9


def test_pictures_that_differ_are_no_comparison() -> None:
    with pytest.raises(RuntimeError, match="other pixels with another number of processes"):
        _require_same([torch.zeros(3), torch.ones(3)])
