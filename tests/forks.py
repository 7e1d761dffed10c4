"""Processes that begin with torch and Lightning imported: to import them takes each longer than most tests.

They are forked from one that did it once for all tests of a worker.
"""

import itertools
import multiprocessing
import os
import runpy
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from multiprocessing.process import BaseProcess
from pathlib import Path

import torch

PATIENCE = 300.0
"""After so many seconds a process hangs [s]."""
FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["lit_pure.lit.build"])
_WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:])
PORTS = itertools.cycle(range(12_000 + 1_000 * _WORKER, 13_000 + 1_000 * _WORKER))
"""Below those that systems hand out themselves (32768 and up)."""


def _begin(
    said: Path, folder: Path, environment: Mapping[str, str], work: Callable[..., object], given: tuple[object, ...]
) -> None:
    """Standard output and error go to a file; the rest is as in a new process."""
    with said.open("w") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    sys.stdout, sys.stderr = (os.fdopen(number, "w", buffering=1) for number in (1, 2))
    os.chdir(folder)
    os.environ |= environment
    torch.set_num_threads(1)
    work(*given)


def _script(path: Path, words: Sequence[str]) -> None:
    sys.argv = [str(path), *words]
    runpy.run_path(str(path), run_name="__main__")


def forked(
    work: Callable[..., object], *given: object, environments: Sequence[Mapping[str, str]] = ({},)
) -> tuple[list[int], list[str]]:
    """Exit statuses of processes that do the same in different environments, and what each said."""
    with tempfile.TemporaryDirectory() as folder:
        said = [Path(folder) / str(number) for number in range(len(environments))]
        started = [
            FORKS.Process(target=_begin, args=(path, Path.cwd(), environment, work, given))
            for path, environment in zip(said, environments, strict=True)
        ]
        statuses = ended(started, said, PATIENCE)
        return statuses, [path.read_text() for path in said]


def ended(started: Sequence[BaseProcess], said: Sequence[Path], patience: float) -> list[int]:
    """Start processes and wait; their exit statuses. None may take longer; what they said is in files."""
    for each in started:
        each.start()
    until = time.monotonic() + patience
    for each in started:
        each.join(max(0.0, until - time.monotonic()))
    hangs = [number for number, each in enumerate(started) if each.is_alive()]
    for each in started:
        each.kill()
        each.join()
    assert not hangs, f"processes {hangs} hang; they said {[path.read_text() for path in said]}"
    return [each.exitcode or 0 for each in started]


def free_port() -> int:
    """A port of this machine that nobody listens at, and that nobody else gets before a test does.

    The system hands out high ports to whoever connects, perhaps before the processes have started. So each worker of
    the tests counts through low ones of its own.
    """
    return next(port for port in PORTS if _free(port))


def _free(port: int) -> bool:
    with socket.socket() as one:
        try:
            one.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def ranks(count: int) -> list[dict[str, str]]:
    """Environments of processes that torchrun starts."""
    common = {"WORLD_SIZE": str(count), "LOCAL_WORLD_SIZE": str(count), "GROUP_RANK": "0"}
    common |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), "TORCHELASTIC_RUN_ID": "tests"}
    return [common | {"RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(count)]


def together(script: Path, *words: object, count: int = 2) -> str:
    """Run a script in as many processes as torchrun would; what they said. All must end well."""
    statuses, said = forked(_script, script, [str(word) for word in words], environments=ranks(count))
    assert not any(statuses), said
    return "".join(said)
