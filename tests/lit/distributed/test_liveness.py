"""Who is lost, and where it was; each process is played by one end of a connection."""

import socket
import threading
from collections.abc import Callable
from contextlib import ExitStack

import pytest

from lit_pure.lit.distributed import liveness
from lit_pure.lit.distributed.liveness import Hub, Member, Verdict

SOON = 20.0
"""A verdict that has not come by then will not come [s]."""


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(liveness, "TICK", 0.02)
    monkeypatch.setattr(liveness, "GRACE", 0.2)


class Wired:
    """A hub with its members, who came by the same places."""

    def __init__(self, world: int, timeout: float = 1000.0) -> None:
        self.taken: list[Verdict] = []
        self.hub = Hub("127.0.0.1", world, timeout, self.taken.append)
        self.members = [
            Member(("127.0.0.1", self.hub.port), self.hub.key, rank, lambda _: None) for rank in range(1, world)
        ]
        self.until(lambda: len(self.hub._others) == world - 1)  # before that, it tells them nothing
        for end in (self.hub, *self.members):
            end.note("after step 7, in the forward pass")
        self.until(lambda: all(place.moves == 1 for place in self.hub._places))

    def until(self, seen: Callable[[], bool]) -> None:
        """Lines arrive on other threads."""
        for _ in range(int(SOON / 0.01)):
            if seen():
                return
            threading.Event().wait(0.01)
        raise AssertionError("it never came")

    def cut(self, rank: int) -> None:
        """As the system does for a process that is killed."""
        self.members[rank - 1]._socket.shutdown(socket.SHUT_RDWR)

    def verdict(self) -> Verdict | None:
        return self.hub.verdict(SOON)


def test_who_is_cut_off_died_and_all_others_hear_of_it() -> None:
    wired = Wired(4)
    wired.cut(2)
    verdict = Verdict("process 2 (after step 7, in the forward pass) died", 0)
    assert wired.verdict() == verdict and wired.taken == [verdict]
    assert [wired.members[rank - 1].verdict(SOON) for rank in (1, 3)] == [verdict] * 2


def test_who_failed_says_why_before_it_goes() -> None:
    wired = Wired(3)
    wired.members[0].fail("ValueError: no")
    wired.cut(1)
    assert wired.verdict() == Verdict("process 1 (after step 7, in the forward pass) failed: ValueError: no", 0)


def test_who_does_not_notice_that_others_are_stuck_hangs_itself() -> None:
    wired = Wired(4)
    wired.hub.stick()
    wired.members[2].stick()
    verdict = wired.verdict()
    assert verdict == Verdict("processes 1, 2 (after step 7, in the forward pass) did not answer", 0)


def test_where_all_are_stuck_nobody_is_to_blame() -> None:
    wired = Wired(2)
    wired.hub.stick()
    wired.members[0].stick()
    assert wired.verdict() == Verdict("the processes lost each other", 0)


def test_where_nobody_moves_those_behind_are_named() -> None:
    wired = Wired(3, timeout=2.0)
    for end in (wired.hub, wired.members[1]):
        end.note("after step 7, in the backward pass")
    verdict = wired.verdict()
    assert verdict == Verdict("process 1 (after step 7, in the forward pass) did not move for 2 s", 0)


def test_the_first_process_is_missed_too() -> None:
    wired = Wired(2)
    ((_, file),) = wired.hub._others.items()
    with ExitStack() as closing:
        closing.callback(wired.hub._server.shutdown)
        file._sock.shutdown(socket.SHUT_RDWR)  # type: ignore[attr-defined]
    assert wired.members[0].verdict(SOON) == Verdict("process 0 (after step 7, in the forward pass) died", 1)


def test_who_is_done_may_go() -> None:
    wired = Wired(3, timeout=0.2)
    for end in (wired.hub, *wired.members):
        end.leave()
    wired.until(lambda: all(place.left for place in wired.hub._places))
    wired.cut(1)
    wired.cut(2)
    wired.until(lambda: sum(place.gone for place in wired.hub._places) == 2)
    assert wired.hub.verdict(0.3) is None and not wired.taken


def test_who_does_not_know_the_key_is_hung_up_on_and_not_believed() -> None:
    wired = Wired(2)
    stranger = Member(("127.0.0.1", wired.hub.port), "guessed", 1, lambda _: None)
    stranger.fail("nonsense")
    assert stranger.verdict(SOON) == Verdict("process 0 (while setting up) died", 1)
    wired.members[0].fail("ValueError: no")
    assert wired.verdict() == Verdict("process 1 (after step 7, in the forward pass) failed: ValueError: no", 0)
