"""How a training that harms itself is launched, and what it leaves."""

import json
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch

from lit_pure.runs import checkpoints
from tests.faults import train
from tests.faults.train import Settings
from tests.forks import FORKS, ended, free_port

PATIENCE = 120.0
"""After so many seconds a process hangs [s]."""


@dataclass(frozen=True)
class Ended:
    """How a launch ended; a list has one entry per process."""

    statuses: list[int]
    printed: list[list[str]]
    """Lines on standard error."""
    reports: list[dict[str, Any]]
    """Empty where a process wrote none."""
    last: checkpoints.Checkpoint | None

    def weights(self) -> list[list[float]]:
        """As they are at the end; the same on all processes."""
        first, *others = [report["weights"] for report in self.reports]
        assert first and all(other == first for other in others)
        return first  # type: ignore[no-any-return]


def process(work: Callable[[Settings], int], settings: Settings, rank: int, port: int, said: Path) -> None:
    """One of several processes that were started at once, each by somebody else."""
    with said.open("w") as file:
        os.dup2(file.fileno(), 2)
    sys.stderr = os.fdopen(2, "w", buffering=1)
    os.setpgid(0, 0)  # who signals its group does not mean the tests
    if settings.world > 1:
        about = {"LOCAL_RANK": rank, "WORLD_SIZE": settings.world, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        os.environ |= {name: str(value) for name, value in about.items()}
    os.environ |= settings.environment
    torch.set_num_threads(1)
    sys.exit(work(settings))


def launch(settings: Settings, work: Callable[[Settings], int] = train.main) -> Ended:
    """Let each process work to its end, whatever it is."""
    folder = Path(settings.folder)
    for old in folder.glob("report_*.json"):
        old.unlink()
    port = free_port()
    said = [folder / f"said_{rank}.txt" for rank in range(settings.world)]
    started = [FORKS.Process(target=process, args=(work, settings, rank, port, path)) for rank, path in enumerate(said)]
    statuses = ended(started, said, PATIENCE)
    paths = [folder / f"report_{rank}.json" for rank in range(settings.world)]
    return Ended(
        statuses,
        [_lines(path.read_text()) for path in said],
        [json.loads(path.read_text()) if path.exists() else {} for path in paths],
        checkpoints.newest(folder / checkpoints.FOLDER),
    )


def _lines(text: str) -> list[str]:
    """Without torch's own, and what a process says on a busy machine that begins long before the others."""
    return [line for line in text.splitlines() if line.strip() and not line.startswith(("[W", "[rank", "waiting for"))]


@pytest.fixture
def here(tmp_path: Path) -> Settings:
    """A training that comes to no harm."""
    return Settings(str(tmp_path))


@pytest.fixture(scope="session")
def straight(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Settings], Ended]:
    """What the same training comes to without harm, by what matters to it."""
    known: dict[tuple[object, ...], Ended] = {}

    def look(settings: Settings) -> Ended:
        key = (settings.world, settings.strategy, settings.accumulate, settings.max_steps, settings.width)
        if key not in known:
            folder = str(tmp_path_factory.mktemp("straight"))
            known[key] = launch(replace(settings, folder=folder, fault="", environment={}))
            assert not any(known[key].statuses), known[key].printed
        return known[key]

    return look


def resumes(settings: Settings, straight: Callable[[Settings], Ended], step: int, **changes: Any) -> None:
    """The same command, without harm this time, resumes after `step` and comes to the same result."""
    ended = launch(replace(settings, fault="", **changes))
    assert ended.statuses == [0] * settings.world, ended.printed
    assert [report["from"] for report in ended.reports] == [step] * settings.world
    assert ended.weights() == straight(settings).weights()
