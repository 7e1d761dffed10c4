"""Work on many files one by one, in this process or in several: what is opened once, and then done with each file.

Knows only these two words. Who shares files out to processes is in `lit/predict_files.py`. Imports no torch.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol, TypeVar

Item = TypeVar("Item")
Outcome = TypeVar("Outcome")
Work = Callable[[Any], AbstractContextManager[Callable[[Item], Outcome]]]
"""Opened once in each process, on its device (torch.device), it gives what is done with an item. It can be pickled."""
Receive = Callable[[int, Outcome], object]
"""Takes the number of an item and what came of it."""


class ForEach(Protocol):
    """Does the work on each item, in no particular order; only the first process receives what comes of them."""

    alone: bool
    """Whether one process does it all, in order."""

    def __call__(self, work: Work[Item, Outcome], items: Sequence[Item], receive: Receive[Outcome]) -> None:
        """Return when all is received. Raises what the work on an item raises, after the items that are begun.

        Args:
            work: opened once.
            items: and outcomes can be pickled.
            receive: called for one item at a time, perhaps in another thread.
        """


class InTurn:
    """This process does all work, in order."""

    alone = True

    def __init__(self, device: Callable[[], Any]) -> None:
        """`device` gives that of the work, once there is any."""
        self._device = device

    def __call__(self, work: Work[Item, Outcome], items: Sequence[Item], receive: Receive[Outcome]) -> None:
        """As the protocol says."""
        with work(self._device()) as do:
            for number, item in enumerate(items):
                receive(number, do(item))
