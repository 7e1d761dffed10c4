"""What a process says that waits for others at the start, and that it stops waiting when asked to."""

import logging
import os
import socket
import threading
import time

import pytest
from lightning.fabric.plugins.environments.lightning import LightningEnvironment

from lit_pure import __main__ as command_line
from lit_pure.config.compose import ConfigError
from lit_pure.config.training import TrainerConfig
from lit_pure.lit.distributed import meeting
from lit_pure.lit.distributed.meeting import meet
from lit_pure.lit.distributed.processes import agree_on, count_launched
from tests.forks import forked, free_port, ranks

SLURM = {"SLURM_JOB_ID": "1", "SLURM_JOB_NAME": "train", "SLURM_NTASKS": "4", "SLURM_NTASKS_PER_NODE": "4"}
SLURM |= {"SLURM_PROCID": "0", "SLURM_LOCALID": "0", "SLURM_NODEID": "0", "MASTER_ADDR": "127.0.0.1"}


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LOCAL_RANK", "NODE_RANK", "RANK", "WORLD_SIZE", "TORCHELASTIC_RUN_ID"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MASTER_PORT", str(free_port()))
    monkeypatch.setattr(meeting.meet, "__defaults__", (0.2,))


def waits(timeout: float = 1.0) -> None:
    agree_on("run", TrainerConfig(timeout=timeout), lambda: {})


@pytest.mark.parametrize(
    ("environment", "missing", "remedy"),
    [
        (SLURM, "3 of 4 processes (rank 1, 2, 3)", "start all of them with srun, or unset SLURM_NTASKS"),
        (ranks(2)[0], "1 of 2 processes (rank 1)", "start all of them with torchrun, or unset TORCHELASTIC_RUN_ID"),
        (ranks(2)[1], "the first process, which does not answer at 127.0.0.1:", "start all of them with torchrun"),
        (ranks(2)[0] | {"MASTER_ADDR": "no.such.host.invalid"}, "(no.such.host.invalid, from MASTER_ADDR)", "torchrun"),
    ],
    ids=["slurm", "torchrun", "second", "address"],
)
def test_who_waits_at_the_start_says_for_whom_and_gives_up_in_the_same_words(
    environment: dict[str, str],
    missing: str,
    remedy: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError) as refused:
        waits()
    said = [record.getMessage() for record in caplog.records if record.name == meeting.__name__]
    assert len(said) == 1 and said[0].startswith("waiting for ")
    for words in (said[0], str(refused.value)):
        assert missing in words and remedy in words


def test_a_port_that_is_taken_is_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        environment = ranks(2)[0] | {"MASTER_PORT": str(other.getsockname()[1])}
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        with pytest.raises(ConfigError, match=f"listens at port {environment['MASTER_PORT']} .* set MASTER_PORT"):
            waits(600.0)


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({name: value for name, value in SLURM.items() if name != "SLURM_PROCID"}, "SLURM_PROCID is not"),
        ({name: value for name, value in SLURM.items() if name != "SLURM_NTASKS_PER_NODE"}, "SLURM_NTASKS is set"),
        ({"TORCHELASTIC_RUN_ID": "1", "WORLD_SIZE": "2"}, "RANK is not; start with torchrun, or unset TORCHEL"),
        ({"TORCHELASTIC_RUN_ID": "1", "WORLD_SIZE": "two", "RANK": "0"}, "TORCHELASTIC_RUN_ID is set"),
    ],
    ids=["no rank", "per node", "no torchrun rank", "no number"],
)
def test_half_of_a_launcher_s_variables_is_refused(
    environment: dict[str, str], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match=words):
        count_launched()


def test_a_variable_that_lightning_takes_for_a_launcher_is_named(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """LOCAL_RANK alone, left over in a shell: Lightning then starts no process itself, and waits for one."""
    monkeypatch.setenv("LOCAL_RANK", "0")
    environment = LightningEnvironment()
    environment.set_world_size(2)
    with pytest.raises(ConfigError, match="unset LOCAL_RANK"):
        meet(environment, 0.5)
    assert "waiting for 1 of 2 processes (rank 1); unset LOCAL_RANK" in caplog.text


def asked_to_stop(number: int) -> None:
    """A process that waits, asked to stop by a signal when it has said so."""

    class Asks(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            threading.Thread(target=lambda: (time.sleep(0.2), os.kill(os.getpid(), number))).start()

    logging.getLogger(meeting.__name__).addHandler(Asks())
    meeting.meet.__defaults__ = (0.2,)
    from lit_pure.commands import run

    run.run_command = lambda _: waits(3600.0)  # type: ignore[assignment,return-value]
    run.run_command.__doc__ = "Wait."
    os._exit(command_line.main(["run", "demo"]))


@pytest.mark.parametrize(("number", "status"), [(2, 130), (15, 143)], ids=["SIGINT", "SIGTERM"])
def test_a_signal_ends_the_waiting(number: int, status: int) -> None:
    statuses, said = forked(asked_to_stop, number, environments=[SLURM | {"MASTER_PORT": str(free_port())}])
    assert statuses == [status] and "waiting for 3 of 4 processes" in said[0] and "stopped" in said[0]
