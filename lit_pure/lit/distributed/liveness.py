"""How the processes of a training know of each other: a connection of each to the first one.

Knows where each process is, who is gone, and what that means for the others (`Verdict`). Who dies closes its
connection, however it dies; who hangs does not move. Knows nothing of Lightning, and uses none of torch's process
groups, which are what fails when a process is lost.
"""

import json
import secrets
import socket
import socketserver
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any, Protocol

TICK = 0.5
"""How often the first process looks at what it knows; what happens between two looks is one event [s]."""
GRACE = 2.0
"""How long after a process lost a connection the others may take to notice it, too [s]."""


@dataclass(frozen=True)
class Verdict:
    """Why a training cannot go on."""

    reason: str
    teller: int
    """The process that tells it: the first one that is left."""


@dataclass
class Place:
    """What is known of a process."""

    moves: int = 0
    """Places it came by; all processes come by the same ones."""
    where: str = "while setting up"
    failed: str = ""
    """Its own error."""
    stuck: bool = False
    """It lost a connection, or waited too long for another process."""
    gone: bool = False
    left: bool = False
    """It is done, and may go."""


class Pipe(Protocol):
    """What can be written to."""

    def write(self, line: bytes, /) -> object: ...


class _Waiting:
    """Takes the verdict, once, whenever it comes."""

    def __init__(self, taken: Callable[[Verdict], None]) -> None:
        self._taken, self._known = taken, threading.Event()
        self._verdict: Verdict | None = None

    def verdict(self, seconds: float) -> Verdict | None:
        """Wait for it."""
        self._known.wait(seconds)
        return self._verdict

    def _take(self, verdict: Verdict) -> None:
        if not self._known.is_set():
            self._verdict = verdict
            self._known.set()
            self._taken(verdict)


class Hub(_Waiting):
    """The first process's end of all connections."""

    def __init__(self, host: str, world: int, timeout: float, taken: Callable[[Verdict], None]) -> None:
        """
        Args:
            host: address to listen at; "" is all of this machine's.
            world: number of processes.
            timeout: seconds without any process moving after which those that are behind are given up.
            taken: called with the verdict, on a thread of its own.
        """
        super().__init__(taken)
        self.key, self._timeout = secrets.token_hex(16), timeout
        self._places = [Place() for _ in range(world)]
        self._others: dict[int, Pipe] = {}
        self._moved, self._stuck = time.monotonic(), float("inf")
        self._server = _Server((host, 0), _Connection)
        self._server.hub = self
        self.port = int(self._server.server_address[1])
        for work in (self._server.serve_forever, self._judge):
            threading.Thread(target=work, daemon=True, name="heartbeat").start()

    def note(self, where: str) -> None:
        """This process came to a place."""
        self.heard(0, {"where": where})
        self._tell({"where": where})

    def fail(self, reason: str) -> None:
        """This process ends by an error of its own."""
        self.heard(0, {"failed": reason})

    def stick(self) -> None:
        """This process lost another one."""
        self.heard(0, {"stuck": True})

    def leave(self) -> None:
        """This process is done."""
        self.heard(0, {"left": True})
        self._tell({"left": True})

    def joined(self, rank: int, file: Pipe) -> None:
        """A process is connected."""
        self._others[rank] = file

    def heard(self, rank: int, message: dict[str, Any]) -> None:
        """What a process said."""
        place = self._places[rank]
        if "where" in message:
            place.moves, self._moved = place.moves + 1, time.monotonic()
        if "stuck" in message:
            self._stuck = min(self._stuck, time.monotonic())
        for key, value in message.items():
            setattr(place, key, value)

    def _judge(self) -> None:
        """Until there is a verdict, or everybody has left."""
        while not self._known.is_set() and not all(place.left for place in self._places):
            time.sleep(TICK)
            if found := self._found():
                lost, reason = found
                left = (rank for rank, place in enumerate(self._places) if rank not in lost and not place.left)
                verdict = Verdict(reason, next(left, 0))
                self._tell(asdict(verdict))
                self._take(verdict)
        self._server.shutdown()
        self._server.server_close()

    def _found(self) -> tuple[Sequence[int], str] | None:
        """Who cannot go on, and why."""
        now, places = time.monotonic(), dict(enumerate(self._places))
        if gone := [rank for rank, place in places.items() if place.gone and not place.failed and not place.left]:
            return gone, f"{self._named(gone)} died"
        if failed := [rank for rank, place in places.items() if place.failed]:
            return failed, f"{self._named(failed)} failed: {places[failed[0]].failed}"
        if now - self._stuck > GRACE:
            silent = [rank for rank, place in places.items() if not place.stuck and not place.left]
            return silent, f"{self._named(silent)} did not answer" if silent else "the processes lost each other"
        if now - self._moved > self._timeout and not any(place.left for place in self._places):
            least = min(place.moves for place in places.values())
            behind = [rank for rank, place in places.items() if place.moves == least]
            return behind, f"{self._named(behind)} did not move for {self._timeout:g} s"
        return None

    def _named(self, ranks: Sequence[int]) -> str:
        """With the place of the first."""
        name = "process" if len(ranks) == 1 else "processes"
        return f"{name} {', '.join(map(str, ranks))} ({self._places[ranks[0]].where})"

    def _tell(self, message: dict[str, Any]) -> None:
        for rank, file in [*self._others.items()]:
            try:
                file.write(_line(message))
            except OSError:
                self._others.pop(rank, None)


class Member(_Waiting):
    """Another process's end of its connection to the first one."""

    def __init__(self, address: tuple[str, int], key: str, rank: int, taken: Callable[[Verdict], None]) -> None:
        """`taken` is called with the verdict, on a thread of its own. Raises OSError without a connection."""
        super().__init__(taken)
        self._socket = socket.create_connection(address, timeout=30)
        self._socket.settimeout(None)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._send({"key": key, "rank": rank})
        self._left = False
        threading.Thread(target=self._listen, daemon=True, name="heartbeat").start()

    def note(self, where: str) -> None:
        """This process came to a place."""
        self._send({"where": where})

    def fail(self, reason: str) -> None:
        """This process ends by an error of its own."""
        self._send({"failed": reason})

    def stick(self) -> None:
        """This process lost another one."""
        self._send({"stuck": True})

    def leave(self) -> None:
        """This process is done."""
        self._left = True
        self._send({"left": True})

    def _send(self, message: dict[str, Any]) -> None:
        with suppress(OSError):  # the first process is gone: whoever listens notices
            self._socket.sendall(_line(message))

    def _listen(self) -> None:
        first = Place()
        with self._socket, suppress(OSError, ValueError):
            for line in self._socket.makefile("rb"):
                message = json.loads(line)
                if "reason" in message:
                    self._take(Verdict(**message))
                else:
                    first = Place(**message)
        if not first.left and not self._left:
            self._take(Verdict(f"process 0 ({first.where}) died", 1))


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    request_queue_size = 1024
    hub: Hub


class _Connection(socketserver.StreamRequestHandler):
    """The first process's end of a connection."""

    disable_nagle_algorithm = True
    server: _Server

    def handle(self) -> None:
        hub, rank = self.server.hub, None
        with suppress(OSError, ValueError):
            for line in self.rfile:
                message = json.loads(line)
                if rank is not None:
                    hub.heard(rank, message)
                elif secrets.compare_digest(str(message.get("key")), hub.key):
                    rank = int(message["rank"])
                    hub.joined(rank, self.wfile)
                else:  # a stranger
                    return
        if rank is not None:
            hub.heard(rank, {"gone": True})


def _line(message: dict[str, Any]) -> bytes:
    return json.dumps(message).encode() + b"\n"
