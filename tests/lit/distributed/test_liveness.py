"""Which process is lost, and where it was; each process is played by one end of a connection."""

import os
import socket
import threading
from collections.abc import Callable
from contextlib import closing
from multiprocessing.connection import Client, Connection

import pytest

from lit_pure.lit.distributed import liveness
from lit_pure.lit.distributed.liveness import Failure, Hub, Member

SOON = 20.0
"""A failure that is not known by then will not come [s]."""


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(liveness, "TICK", 0.02)
    monkeypatch.setattr(liveness, "GRACE", 0.2)


class Wired:
    """A hub with its members, which have come to the same place."""

    def __init__(self, world: int, timeout: float = 1000.0) -> None:
        self.failures: list[Failure] = []
        self.hub = Hub("127.0.0.1", world, timeout, self.failures.append)
        self.members = [
            Member(("127.0.0.1", self.hub.port), self.hub.key, rank, lambda _: None) for rank in range(1, world)
        ]
        self.until(lambda: len(self.hub._connections) == world - 1)  # before that, it sends them nothing
        for end in (self.hub, *self.members):
            end.note("after step 7, in the forward pass")
        self.until(lambda: all(state.moves == 1 for state in self.hub._states))

    def until(self, seen: Callable[[], bool]) -> None:
        """Messages arrive on other threads."""
        for _ in range(int(SOON / 0.01)):
            if seen():
                return
            threading.Event().wait(0.01)
        raise AssertionError("it never came")

    def cut(self, rank: int) -> None:
        """As the system does for a process that is killed."""
        shut_down(self.members[rank - 1]._connection)

    def failure(self) -> Failure | None:
        return self.hub.wait_for_failure(SOON)


def shut_down(connection: Connection) -> None:
    with closing(socket.socket(fileno=os.dup(connection.fileno()))) as opened:
        opened.shutdown(socket.SHUT_RDWR)


def test_a_process_that_is_cut_off_died_and_all_others_learn_of_it() -> None:
    wired = Wired(4)
    wired.cut(2)
    failure = Failure("process 2 (after step 7, in the forward pass) died", 0)
    assert wired.failure() == failure and wired.failures == [failure]
    assert [wired.members[rank - 1].wait_for_failure(SOON) for rank in (1, 3)] == [failure] * 2


def test_a_process_that_failed_says_why_before_it_goes() -> None:
    wired = Wired(3)
    wired.members[0].report_failure("ValueError: no")
    wired.cut(1)
    assert wired.failure() == Failure("process 1 (after step 7, in the forward pass) failed: ValueError: no", 0)


def test_a_process_that_does_not_notice_that_others_are_stuck_hangs_itself() -> None:
    wired = Wired(4)
    wired.hub.report_stuck()
    wired.members[2].report_stuck()
    assert wired.failure() == Failure("processes 1, 2 (after step 7, in the forward pass) did not answer", 0)


def test_where_all_are_stuck_none_is_named() -> None:
    wired = Wired(2)
    wired.hub.report_stuck()
    wired.members[0].report_stuck()
    assert wired.failure() == Failure("the processes lost each other", 0)


def test_where_no_process_moves_those_behind_are_named() -> None:
    wired = Wired(3, timeout=2.0)
    for end in (wired.hub, wired.members[1]):
        end.note("after step 7, in the backward pass")
    assert wired.failure() == Failure("process 1 (after step 7, in the forward pass) did not move for 2 s", 0)


def test_the_death_of_the_first_process_is_noticed_too() -> None:
    wired = Wired(2)
    (connection,) = wired.hub._connections.values()
    shut_down(connection)
    failure = Failure("process 0 (after step 7, in the forward pass) died", 1)
    assert wired.members[0].wait_for_failure(SOON) == failure


def test_a_process_that_is_done_may_close_its_connection() -> None:
    wired = Wired(3, timeout=0.2)
    for end in wired.members:
        end.leave()
    wired.until(lambda: all(state.left for state in wired.hub._states[1:]))
    wired.cut(1)
    wired.cut(2)
    wired.until(lambda: sum(state.gone for state in wired.hub._states) == 2)
    assert wired.hub.wait_for_failure(0.3) is None and not wired.failures
    wired.hub.leave()


def test_a_stranger_is_refused_and_keeps_no_process_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(liveness, "HANDSHAKE", 0.2)
    failures: list[Failure] = []
    hub = Hub("127.0.0.1", 2, 1000.0, failures.append)
    address = ("127.0.0.1", hub.port)
    with Client(address), socket.create_connection(address) as wordy:  # the first one says nothing
        wordy.sendall(b"GET / HTTP/1.1\r\n\r\n")
        with pytest.raises(OSError, match="refused"):
            Member(address, b"guessed", 1, failures.append)
        member = Member(address, hub.key, 1, failures.append)
        member.note("after step 7, in the forward pass")
        member.report_failure("ValueError: no")
        failure = Failure("process 1 (after step 7, in the forward pass) failed: ValueError: no", 0)
        assert hub.wait_for_failure(SOON) == failure


def test_no_more_connections_are_accepted_than_there_are_processes() -> None:
    wired = Wired(2)
    wired.until(lambda: not listens(wired.hub.port))
    wired.cut(1)
    assert wired.failure() == Failure("process 1 (after step 7, in the forward pass) died", 0)


def listens(port: int) -> bool:
    with closing(socket.socket()) as asking:
        return asking.connect_ex(("127.0.0.1", port)) == 0
