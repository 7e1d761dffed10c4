"""Where a search remembers its trials: an Optuna study in a file of the search's folder, and locks beside it.

Knows Optuna's storages and record locks. Knows nothing of what a trial is. Imports no torch, and Optuna when a study is
opened.

On this machine the file is SQLite, which Optuna's own tools read. On a cluster processes of several nodes write to it
through a network file system, on whose locks SQLite cannot rely; Optuna recommends its journal there, a file that only
grows. Whichever exists is used.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from lit_pure.config.mistakes import ConfigError
from lit_pure.runs import folder as runs

if TYPE_CHECKING:
    from optuna.storages import BaseStorage

DATABASE, JOURNAL, LOCKS = "search.db", "search.journal", ".search.lock"
"""In the folder of a search."""
WAIT = 60
"""How long to wait while another process writes [s]."""


def folder_of(name: str) -> Path:
    """The folder of a search; those of its runs are below it."""
    return runs.ROOT / name


def file_of(name: str) -> Path | None:
    """The file with a search's trials; None where it has not begun."""
    return next((path for kind in (DATABASE, JOURNAL) if (path := folder_of(name) / kind).is_file()), None)


def require_optuna() -> None:
    """Raises ConfigError with the remedy where Optuna is missing."""
    if find_spec("optuna") is None:
        raise ConfigError("search: needs Optuna; install it: pip install 'lit_pure[search]'")


def open_storage(path: Path) -> "BaseStorage":
    """The storage in a file, which is made if it does not exist."""
    require_optuna()
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    if path.name == JOURNAL:
        from optuna.storages.journal import JournalFileBackend, JournalStorage

        return JournalStorage(JournalFileBackend(str(path)))
    return optuna.storages.RDBStorage(f"sqlite:///{path}", engine_kwargs={"connect_args": {"timeout": WAIT}})


class Locks:
    """Numbered locks of a search, one process each; the system opens them when that process ends.

    One file holds all of them, and is never closed before: closing it anywhere in a process would open its locks.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._file = (folder / LOCKS).open("a")

    def take(self, number: int) -> bool:
        """Lock a number of 0 or more for this process; False where another process has it."""
        return self._lock(number + 1, wait=False)

    def close(self) -> None:
        """Let others have all of them."""
        self._file.close()

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Inside, no other process is in here."""
        self._lock(0, wait=True)
        try:
            yield
        finally:
            self._unlock(0)

    def release(self, number: int) -> None:
        """Let others have a number."""
        self._unlock(number + 1)

    def _lock(self, place: int, wait: bool) -> bool:
        import fcntl

        try:
            fcntl.lockf(self._file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB), 1, place)
        except (BlockingIOError, PermissionError):
            return False
        except OSError as error:
            raise ValueError(
                f"{self._file.name} cannot be locked ({os.strerror(error.errno or 0)}), and a search could not tell "
                "interrupted trials from running ones; put runs/ on a file system with locks"
            ) from error
        return True

    def _unlock(self, place: int) -> None:
        import fcntl

        fcntl.lockf(self._file, fcntl.LOCK_UN, 1, place)
