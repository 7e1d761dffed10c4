"""What processes agree on before the Trainer."""

import json
import os
import socket
import subprocess
import sys

import pytest

from lit_pure.config.compose import ConfigError
from lit_pure.config.training import TrainerConfig
from lit_pure.lit.processes import TOLD, agreed

CONFIG = TrainerConfig(timeout=60.0)
ASKS = """
import os, sys
from lit_pure.config.compose import ConfigError
from lit_pure.config.training import TrainerConfig
from lit_pure.lit.processes import agreed, started_together
def decide():
    assert os.environ["RANK"] == "0"
    return {"folder": "that of the first"}
def fails():
    raise ConfigError("no such run")
assert started_together() == 2
print(agreed("run", TrainerConfig(timeout=60.0), decide)["folder"])
try:
    agreed("again", TrainerConfig(timeout=60.0), fails)
except ConfigError as error:
    print(error)
"""


def port() -> str:
    with socket.socket() as found:
        found.bind(("localhost", 0))
        return str(found.getsockname()[1])


def test_processes_that_torchrun_starts_take_what_the_first_decides_and_its_mistakes() -> None:
    common = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port(), "LOCAL_WORLD_SIZE": "2"}
    common |= {"TORCHELASTIC_RUN_ID": "x", "GROUP_RANK": "0"}
    started = [
        subprocess.Popen(
            [sys.executable, "-c", ASKS],
            env={**os.environ, **common, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    for process in started:
        said, _ = process.communicate(timeout=120)
        assert process.returncode == 0 and said.splitlines() == ["that of the first", "no such run"]


def test_one_that_starts_others_tells_them_by_its_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(TOLD, json.dumps({"need": {"folder": "a"}}))
    for name in ("LOCAL_RANK", "NODE_RANK"):
        monkeypatch.delenv(name, raising=False)
    assert agreed("run", CONFIG, lambda: {"folder": "b"}) == {"folder": "b"}
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert agreed("run", CONFIG, lambda: {"folder": "c"}) == {"folder": "b"}
    assert agreed("need", CONFIG, lambda: {"folder": "c"}) == {"folder": "a"}


def test_a_second_machine_that_was_started_by_hand_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(TOLD, raising=False)
    monkeypatch.setenv("NODE_RANK", "1")
    with pytest.raises(ConfigError, match="torchrun or SLURM"):
        agreed("run", CONFIG, lambda: {})
