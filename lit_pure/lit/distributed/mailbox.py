"""How processes that share work talk: through the store in which they met, which no process group can break.

Knows the store, who takes which item, and messages to the first process. Knows nothing of Lightning or of the work.
"""

import pickle
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from torch import distributed
from torch._C._distributed_c10d import PrefixStore, Store
from torch.utils.data import Sampler

from lit_pure.files.work import Receive

TICK = 0.05
"""How often a process looks into the store [s]."""
TAKEN, SENT = "taken", "sent"
"""Keys of the two numbers that all processes count up."""


@dataclass(frozen=True)
class Message:
    """From a process to the first one: an item is done, or its work failed, or it takes no more items."""

    number: int | None = None
    """Of the item that is done."""
    outcome: Any = None
    error: Exception | None = None


class Mailbox:
    """What processes leave for each other, as long as the first one lives."""

    def __init__(self) -> None:
        self._store: Store = PrefixStore("files", distributed.distributed_c10d._get_default_store())

    def put(self, key: str, content: Any) -> None:
        """Leave something for all."""
        self._set(key, pickle.dumps(content))

    def has(self, key: str) -> bool:
        """Whether somebody has left it; never waits."""
        return self._store.check([key])

    def get(self, key: str) -> Any:
        """Wait for it, hearing signals."""
        while not self.has(key):
            time.sleep(TICK)
        return pickle.loads(self._store.get(key))

    def count(self, key: str, more: int = 1) -> int:
        """Add to a number that all share; its new value."""
        return self._store.add(key, more)

    def send(self, message: Message) -> None:
        """To the first process."""
        content = _pickled(message)
        self._set(f"{SENT}/{self.count(SENT)}", content)

    def receive(self, number: int) -> Message:
        """Wait for a message, counted from 1, and remove it."""
        message: Message = self.get(f"{SENT}/{number}")
        self._store.delete_key(f"{SENT}/{number}")
        return message

    def _set(self, key: str, content: bytes) -> None:
        self._store.set(key, content)  # type: ignore[arg-type]  # torch takes bytes, and gives them back

    def take(self, count: int) -> int | None:
        """The number of an item, of `count`, that nobody has taken; None if there is none."""
        number = self.count(TAKEN) - 1
        return number if number < count else None

    def close(self, count: int) -> None:
        """From now on, nobody takes an item."""
        self.count(TAKEN, count)


class Untaken(Sampler[int]):
    """Numbers of items, each for one process: who is free takes the next one."""

    def __init__(self, mailbox: Mailbox, count: int) -> None:
        self._mailbox, self._count = mailbox, count

    def __len__(self) -> int:
        """How many there may be: Lightning takes none in advance where it knows."""
        return self._count

    def __iter__(self) -> Iterator[int]:
        while (number := self._mailbox.take(self._count)) is not None:
            yield number


class Collector(threading.Thread):
    """Receives outcomes in the first process, which works itself meanwhile."""

    error: Exception | None = None
    """The first one, of any process, or of who receives."""

    def __init__(self, mailbox: Mailbox, world: int, count: int, receive: Receive[Any]) -> None:
        """
        Args:
            mailbox: of the first process.
            world: number of processes.
            count: number of items.
            receive: called with each outcome.
        """
        super().__init__(daemon=True, name="outcomes")
        self._mailbox, self._working, self._count, self._receive = mailbox, world, count, receive

    def run(self) -> None:
        """Until no process works."""
        number = 0
        while self._working:
            number += 1
            try:
                self._take(self._mailbox.receive(number))
            except distributed.DistError as error:
                self.error = self.error or error
                return
            except Exception as error:
                self._fail(error)

    def _take(self, message: Message) -> None:
        if message.error is not None:
            self._fail(message.error)
        elif message.number is None:
            self._working -= 1
        else:
            self._receive(message.number, message.outcome)

    def _fail(self, error: Exception) -> None:
        self.error = self.error or error
        with suppress(distributed.DistError):
            self._mailbox.close(self._count)


def _pickled(message: Message) -> bytes:
    """Errors of some libraries cannot be pickled; their words can."""
    try:
        content = pickle.dumps(message)
        if message.error is not None:
            pickle.loads(content)
    except Exception:
        if message.error is None:
            raise
        words = f"{type(message.error).__name__}: {message.error}"
        content = pickle.dumps(Message(error=RuntimeError(words)))
    return content
