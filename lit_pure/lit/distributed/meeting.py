"""How the processes of a launch find each other, and what is said while some are missing.

Knows addresses, ports and ranks. Knows nothing of what the processes do once they are together. Torch waits without a
word, and hears no signal meanwhile; here a thread waits, and the main thread looks at it now and then.
"""

import logging
import os
import socket
import threading
import time
from contextlib import suppress
from datetime import timedelta

from lightning.fabric.plugins.environments.cluster_environment import ClusterEnvironment
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from torch._C._distributed_c10d import Store, TCPStore

from lit_pure.config.compose import ConfigError

log = logging.getLogger(__name__)

PATIENT = 5.0
"""After so long a process says for whom it waits [s]."""
AGAIN = 60.0
"""And then every so often [s]."""
TICK = 0.1
"""How often a process looks who is there [s]."""
RETRY, HANDSHAKE = 1.0, 5.0
"""How often it tries to reach the first process, and how long each time [s]."""
LAUNCHERS: dict[type[ClusterEnvironment], tuple[str, str]] = {
    TorchElasticEnvironment: ("torchrun", "TORCHELASTIC_RUN_ID"),
    SLURMEnvironment: ("srun", "SLURM_NTASKS"),
}
"""What starts all processes at once, and the variable by which a process knows it; the first one found counts."""
NAMED = 8
"""How many missing processes are named."""


def meet(environment: ClusterEnvironment, timeout: float, patient: float = PATIENT) -> Store:
    """Wait until all processes of a launch are here. A signal ends the waiting.

    Args:
        environment: knows their number, this one's rank, and where the first one listens.
        timeout: how long to wait [s].
        patient: after so long a line says for whom [s].

    Returns:
        Where they met. Keep it until the process group is made: it is made at the same port.

    Raises:
        ConfigError: processes are still missing, or the first one cannot listen at the port.
    """
    meeting, began = _Meeting(environment, timeout), time.monotonic()
    meeting.start()
    said = began + patient
    try:
        while meeting.is_alive():
            meeting.join(TICK)
            now = time.monotonic()
            if meeting.is_alive() and now - began > timeout:
                raise ConfigError(f"waited {timeout:g} s for {meeting.awaited}; {how_to_start(environment)}")
            if meeting.is_alive() and now > said:
                said = now + AGAIN
                log.warning("waiting for %s; %s", meeting.awaited, how_to_start(environment))
    finally:
        meeting.given_up.set()
    if meeting.problem is not None:
        raise ConfigError(str(meeting.problem)) from meeting.problem
    assert meeting.store is not None
    return meeting.store


def how_to_start(environment: ClusterEnvironment) -> str:
    """What a user can do where processes are missing."""
    for kind, (starter, variable) in LAUNCHERS.items():
        if isinstance(environment, kind):
            return f"start all of them with {starter}, or unset {variable} to run this process alone"
    return "unset LOCAL_RANK and NODE_RANK to let one process start the others"


class _Meeting(threading.Thread):
    """Waits for the other processes; `awaited` says for whom."""

    def __init__(self, environment: ClusterEnvironment, timeout: float) -> None:
        super().__init__(daemon=True, name="meeting")
        self._host, self._port = environment.main_address, environment.main_port
        self._rank, self._world = environment.global_rank(), environment.world_size()
        self._listens = self._rank == 0 and os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True"
        self._wait = timedelta(seconds=timeout + AGAIN)  # longer than the main thread does
        self.awaited = f"the address of the first process ({self._host}, from MASTER_ADDR)"
        self.given_up = threading.Event()
        self.store: Store | None = None
        self.problem: Exception | None = None

    def run(self) -> None:
        try:
            # Torch would try the same with many words. A cluster may announce the name, too, when the process runs.
            while not self._answers():
                if self.given_up.wait(RETRY):
                    return
            self.store = self._connect()
            self._gather(self.store)
        except Exception as error:
            self.problem = error

    def _answers(self) -> bool:
        """Whether the address exists, and the first process listens there, unless this is the one."""
        with suppress(OSError, UnicodeError):
            socket.getaddrinfo(self._host, self._port)
            self.awaited = f"the first process, which does not answer at {self._host}:{self._port}"
            if not self._listens:
                socket.create_connection((self._host, self._port), HANDSHAKE).close()
            return True
        return False

    def _connect(self) -> Store:
        """The store of the first process; torchrun may have made it."""
        try:
            return TCPStore(
                self._host,
                self._port,
                self._world,
                self._listens,
                self._wait,
                wait_for_workers=False,
                multi_tenant=True,
            )
        except RuntimeError as error:
            if "EADDRINUSE" not in str(error):
                raise
            taken = f"another process listens at port {self._port} of this machine"
            raise ConfigError(f"{taken}; set MASTER_PORT to a free one, the same for all processes") from error

    def _gather(self, store: Store) -> None:
        """Say that this process is here, and wait for the others; the first one says when they are all here."""
        prefix = f"meeting/{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}"
        store.set(f"{prefix}/{self._rank}", "here")
        missing = [rank for rank in range(self._world) if rank] if self._rank == 0 else []
        while missing := [rank for rank in missing if not store.check([f"{prefix}/{rank}"])]:
            self.awaited = f"{len(missing)} of {self._world} processes ({_listed(missing)})"
            time.sleep(TICK)
        if self._rank == 0:
            store.set(f"{prefix}/all", "here")
        self.awaited = "other processes, which the first one names"
        store.wait([f"{prefix}/all"])


def _listed(ranks: list[int]) -> str:
    more = f" and {len(ranks) - NAMED} more" if len(ranks) > NAMED else ""
    return f"rank {', '.join(map(str, ranks[:NAMED]))}{more}"
