"""What processes agree on before the Trainer."""

import json
import os

import pytest
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment

from lit_pure.config.compose import ConfigError
from lit_pure.config.training import TrainerConfig
from lit_pure.lit.distributed.processes import DECISIONS, agree_on, count_launched, launched_size
from tests.forks import forked, ranks

CONFIG = TrainerConfig(timeout=60.0)


def asks() -> None:
    """What each of two processes does."""

    def decide() -> dict[str, str]:
        assert os.environ["RANK"] == "0"
        return {"folder": "that of the first"}

    def fails() -> dict[str, str]:
        raise ConfigError("no such run")

    assert count_launched() == 2
    print(agree_on("run", CONFIG, decide)["folder"])
    with pytest.raises(ConfigError, match="no such run"):
        agree_on("again", CONFIG, fails)


def test_processes_that_torchrun_starts_take_what_the_first_decides_and_its_mistakes() -> None:
    statuses, said = forked(asks, environments=ranks(2))
    assert statuses == [0, 0] and [words.strip() for words in said] == ["that of the first"] * 2, said


def test_a_process_that_starts_others_passes_decisions_through_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(DECISIONS, json.dumps({"need": {"folder": "a"}}))
    for name in ("LOCAL_RANK", "NODE_RANK"):
        monkeypatch.delenv(name, raising=False)
    assert agree_on("run", CONFIG, lambda: {"folder": "b"}) == {"folder": "b"}
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert agree_on("run", CONFIG, lambda: {"folder": "c"}) == {"folder": "b"}
    assert agree_on("need", CONFIG, lambda: {"folder": "c"}) == {"folder": "a"}


def test_a_second_machine_that_was_started_by_hand_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(DECISIONS, raising=False)
    monkeypatch.setenv("NODE_RANK", "1")
    with pytest.raises(ConfigError, match="torchrun or SLURM"):
        agree_on("run", CONFIG, lambda: {})


def test_the_size_of_a_launch_is_what_torchrun_or_slurm_says(monkeypatch: pytest.MonkeyPatch) -> None:
    assert launched_size() is None
    with monkeypatch.context() as patch:
        for name, value in (ranks(6)[0] | {"LOCAL_WORLD_SIZE": "2"}).items():
            patch.setenv(name, value)
        assert launched_size() == (3, 2)
    for name, number in {"NTASKS": 8, "NTASKS_PER_NODE": 4, "NNODES": 2, "PROCID": 0, "LOCALID": 0}.items():
        monkeypatch.setenv(f"SLURM_{name}", str(number))
    monkeypatch.setattr(SLURMEnvironment, "_validate_srun_used", staticmethod(lambda: None))
    assert launched_size() == (2, 4)
