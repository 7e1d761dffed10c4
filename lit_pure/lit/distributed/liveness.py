"""How the processes of a training learn that one of them is lost: each has a connection to the first one.

Knows where each process is, which one is lost, and what the others report (`Failure`). A process that dies closes its
connection, however it dies; a process that hangs does not move. `multiprocessing.connection` frames the messages and
checks the secret key. Knows nothing of Lightning, and uses none of torch's process groups: they fail themselves when a
process is lost.
"""

import json
import secrets
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from multiprocessing import AuthenticationError
from multiprocessing.connection import Client, Connection, Listener, answer_challenge, deliver_challenge, wait
from typing import Any

TICK = 0.5
"""How often the first process judges what it knows; all that happens between two judgements is one event [s]."""
GRACE = 2.0
"""How much later than the first process that lost a connection the others may notice it [s]."""
HANDSHAKE = 5.0
"""How long a new connection may be silent [s]."""


@dataclass(frozen=True)
class Failure:
    """Why a training cannot continue."""

    reason: str
    reporter: int
    """The process that reports it: the first one that is not lost."""


@dataclass
class ProcessState:
    """What is known of a process."""

    moves: int = 0
    """Number of places it has passed; all processes pass the same ones."""
    where: str = "while setting up"
    failed: str = ""
    """Its own error."""
    stuck: bool = False
    """It lost a connection, or waited too long for another process."""
    gone: bool = False
    left: bool = False
    """It is done; its connection may close."""


class _Endpoint:
    """One end of the connections; it gets a failure at most once."""

    def __init__(self, on_failure: Callable[[Failure], None]) -> None:
        self._on_failure, self._known = on_failure, threading.Event()
        self._failure: Failure | None = None

    def wait_for_failure(self, seconds: float) -> Failure | None:
        """The failure, if there is one by then."""
        self._known.wait(seconds)
        return self._failure

    def _set_failure(self, failure: Failure) -> None:
        if not self._known.is_set():
            self._failure = failure
            self._known.set()
            self._on_failure(failure)


class Hub(_Endpoint):
    """The first process's end of all connections."""

    def __init__(self, host: str, world: int, timeout: float, on_failure: Callable[[Failure], None]) -> None:
        """
        Args:
            host: address to listen at; "" means all addresses of this machine.
            world: number of processes.
            timeout: if no process moves for so long, those that are behind count as lost [s].
            on_failure: called with the failure, on its own thread.
        """
        super().__init__(on_failure)
        self.key, self._timeout = secrets.token_bytes(16), timeout
        self._states = [ProcessState() for _ in range(world)]
        self._connections: dict[int, Connection] = {}
        self._moved, self._stuck = time.monotonic(), float("inf")
        self._listener = Listener((host, 0), "AF_INET", backlog=1024)
        self.port = int(self._listener.address[1])
        for work in (self._accept, self._watch):
            threading.Thread(target=work, daemon=True, name="liveness").start()

    def note(self, where: str) -> None:
        """This process has come to a place."""
        self._update(0, {"where": where})
        self._send_all({"where": where})

    def report_failure(self, reason: str) -> None:
        """This process ends with its own error."""
        self._update(0, {"failed": reason})

    def report_stuck(self) -> None:
        """This process has lost another one."""
        self._update(0, {"stuck": True})

    def leave(self) -> None:
        """This process is done."""
        self._update(0, {"left": True})
        self._send_all({"left": True})

    def _accept(self) -> None:
        """Accept connections until all processes are connected."""
        with self._listener:
            while len(self._connections) < len(self._states) - 1:
                connection = self._listener.accept()
                try:
                    # Here and not in `accept`, which would wait for ever where a stranger says nothing.
                    if not connection.poll(HANDSHAKE):
                        raise AuthenticationError
                    answer_challenge(connection, self.key)
                    deliver_challenge(connection, self.key)
                    rank = int(_receive(connection)["rank"])
                except Exception:  # a stranger, whatever it said, or a process that is gone already
                    connection.close()
                else:
                    self._connections[rank] = connection

    def _watch(self) -> None:
        """Read and judge until there is a failure, or all processes have left."""
        while not self._known.is_set() and not all(state.left for state in self._states):
            self._read(TICK)
            if found := self._find_lost():
                lost, reason = found
                remaining = (rank for rank, state in enumerate(self._states) if rank not in lost and not state.left)
                failure = Failure(reason, next(remaining, 0))
                self._send_all(asdict(failure))
                self._set_failure(failure)
        while self._connections:  # closing a connection with unread messages could destroy those that we sent
            self._read(TICK)

    def _read(self, seconds: float) -> None:
        """Take in what the other processes send in this time."""
        end = time.monotonic() + seconds
        while (remaining := end - time.monotonic()) > 0:
            ranks = {connection: rank for rank, connection in self._connections.copy().items()}
            for connection in wait(list(ranks), remaining):
                assert isinstance(connection, Connection)
                rank = ranks[connection]
                try:
                    self._update(rank, _receive(connection))
                except (EOFError, OSError, ValueError):
                    del self._connections[rank]
                    self._update(rank, {"gone": True})

    def _update(self, rank: int, message: dict[str, Any]) -> None:
        """Note what a process says."""
        state = self._states[rank]
        if "where" in message:
            state.moves, self._moved = state.moves + 1, time.monotonic()
        if "stuck" in message:
            self._stuck = min(self._stuck, time.monotonic())
        for key, value in message.items():
            setattr(state, key, value)

    def _find_lost(self) -> tuple[Sequence[int], str] | None:
        """The lost processes, and the reason."""
        now, states = time.monotonic(), dict(enumerate(self._states))
        if gone := [rank for rank, state in states.items() if state.gone and not state.failed and not state.left]:
            return gone, f"{self._named(gone)} died"
        if failed := [rank for rank, state in states.items() if state.failed]:
            return failed, f"{self._named(failed)} failed: {states[failed[0]].failed}"
        if now - self._stuck > GRACE:
            silent = [rank for rank, state in states.items() if not state.stuck and not state.left]
            return silent, f"{self._named(silent)} did not answer" if silent else "the processes lost each other"
        if now - self._moved > self._timeout and not any(state.left for state in self._states):
            least = min(state.moves for state in states.values())
            behind = [rank for rank, state in states.items() if state.moves == least]
            return behind, f"{self._named(behind)} did not move for {self._timeout:g} s"
        return None

    def _named(self, ranks: Sequence[int]) -> str:
        """Processes in words, with the place of the first."""
        name = "process" if len(ranks) == 1 else "processes"
        return f"{name} {', '.join(map(str, ranks))} ({self._states[ranks[0]].where})"

    def _send_all(self, message: dict[str, Any]) -> None:
        for connection in self._connections.copy().values():
            with suppress(OSError):  # that process is gone: `_read` notices
                _send(connection, message)


class Member(_Endpoint):
    """Another process's end of its connection to the first one."""

    def __init__(self, address: tuple[str, int], key: bytes, rank: int, on_failure: Callable[[Failure], None]) -> None:
        """`on_failure` is called with the failure, on its own thread. Raises OSError without a connection."""
        super().__init__(on_failure)
        self._connection = Client(address)
        try:
            deliver_challenge(self._connection, key)
            answer_challenge(self._connection, key)
        except (EOFError, ValueError, AuthenticationError) as error:  # a ValueError where the system forbids the digest
            raise OSError(f"the connection was refused: {error or type(error).__name__}") from error
        self._send({"rank": rank})
        self._left = False
        threading.Thread(target=self._listen, daemon=True, name="liveness").start()

    def note(self, where: str) -> None:
        """This process has come to a place."""
        self._send({"where": where})

    def report_failure(self, reason: str) -> None:
        """This process ends with its own error."""
        self._send({"failed": reason})

    def report_stuck(self) -> None:
        """This process has lost another one."""
        self._send({"stuck": True})

    def leave(self) -> None:
        """This process is done."""
        self._left = True
        self._send({"left": True})

    def _send(self, message: dict[str, Any]) -> None:
        with suppress(OSError):  # the first process is gone: `_listen` notices
            _send(self._connection, message)

    def _listen(self) -> None:
        first = ProcessState()
        with self._connection, suppress(EOFError, OSError, ValueError):
            while True:
                message = _receive(self._connection)
                if "reason" in message:
                    self._set_failure(Failure(**message))
                else:
                    first = ProcessState(**message)
        if not first.left and not self._left:
            self._set_failure(Failure(f"process 0 ({first.where}) died", 1))


def _send(connection: Connection, message: dict[str, Any]) -> None:
    connection.send_bytes(json.dumps(message).encode())  # not `send`: unpickling may run code


def _receive(connection: Connection) -> dict[str, Any]:
    message: dict[str, Any] = json.loads(connection.recv_bytes())
    return message
