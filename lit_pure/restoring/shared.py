"""Shares the squares of a batch out to processes with one thread each, so that all cores of a CPU have work.

Knows how a batch is cut, and a restorer that answers as the one inside it. The cut does not depend on the number of
processes, so no pixel does. Knows no family and no photograph.

Shape legend: B pictures, s side of the model's square [px], h w cells.
"""

import pickle
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import Any

from torch import Tensor

from lit_pure.config.experiment import ColorFix
from lit_pure.files.processes import one_thread_each, usable_cores
from lit_pure.images.threads import one_thread
from lit_pure.restoring.contract import Clock, CodeRestorer, CodeSquare, Progress, Restoration, SquareRestorer
from lit_pure.restoring.wrapped import Wrapped, WrappedCodes


@contextmanager
def shared(restorer: SquareRestorer, workers: int | None = None) -> Iterator[SquareRestorer]:
    """The restorer with `workers` processes, which start when a batch first has work for two of them.

    Without a number, `restoring.workers` says it. On another device than a CPU it stays as it is. Raises ValueError,
    later, if there is no short folder for sockets.
    """
    if restorer.device.type != "cpu":
        yield restorer
        return
    workers = workers or restorer.restoring.workers or usable_cores()
    with ExitStack() as stack:
        share = Share(restorer, workers, stack)
        yield SharedCodes(restorer, share) if isinstance(restorer, CodeRestorer) else SharedSquares(restorer, share)


class Share:
    """Calls a method of a restorer with parts of a batch, here or in processes."""

    def __init__(self, restorer: SquareRestorer, workers: int, stack: ExitStack) -> None:
        self.restorer, self.workers, self._stack = restorer, workers, stack
        self._pool: ProcessPoolExecutor | None = None

    def __call__(
        self,
        method: str,
        batch: Sequence[Any],
        given: Sequence[Any] | None,
        progress: Progress | None,
        **options: Any,
    ) -> list[Any]:
        """
        Args:
            method: of the restorer.
            batch: its arguments, each with one row for each square.
            given: words or codes for each square.
            progress: as of the method; processes report a part when it is done.
            options: its other arguments, which can be pickled.
        """
        calls = [
            ([part[rows] for part in batch], {"given": None if given is None else given[rows], **options})
            for rows in cuts(len(batch[0]), self.restorer.together)
        ]
        if len(calls) == 1 or self.workers == 1:
            with one_thread():
                return [
                    square
                    for some, how in calls
                    for square in getattr(self.restorer, method)(*some, progress=progress, **how)
                ]
        # As bytes: torch would pass tensors through shared memory, of which a container has little.
        futures = [self.pool.submit(_perform, method, pickle.dumps(call)) for call in calls]
        found = []
        for future in futures:
            part = pickle.loads(future.result())
            if progress is not None:
                progress(sum(square.tokens for square in part))
            found += part
        return found

    @property
    def pool(self) -> ProcessPoolExecutor:
        """Made once; each process has its own copy of the restorer."""
        if self._pool is None:
            content = pickle.dumps(self.restorer)
            self._pool = self._stack.enter_context(one_thread_each(self.workers, _receive, (content,)))
        return self._pool


class SharedSquares(Wrapped):
    """A restorer whose squares are shared out."""

    def __init__(self, restorer: SquareRestorer, share: Share) -> None:
        super().__init__(restorer)
        self._share = share

    def restore_squares(
        self,
        enlarged_B3ss: Tensor,
        names: Sequence[str],
        *,
        color_fix: ColorFix,
        shown: tuple[int, int] | None = None,
        given: Sequence[Any] | None = None,
        progress: Progress | None = None,
        clock: Clock | None = None,
    ) -> list[Restoration]:
        """As the contract says, but for `clock`, which is not called."""
        batch = (enlarged_B3ss, names)
        return self._share("restore_squares", batch, given, progress, color_fix=color_fix, shown=shown)


class SharedCodes(SharedSquares, WrappedCodes):
    """A restorer of codes whose squares are shared out."""

    def draw_codes(
        self,
        enlarged_B3ss: Tensor,
        names: Sequence[str],
        known_Bhw: Tensor,
        *,
        given: Sequence[Any] | None = None,
        progress: Progress | None = None,
    ) -> list[CodeSquare]:
        """As the contract says."""
        return self._share("draw_codes", (enlarged_B3ss, names, known_Bhw), given, progress)


def cuts(count: int, most: int) -> list[slice]:
    """As few parts as can be of at most `most`, which differ by one at most."""
    parts = -(-count // most)
    return [slice(count * part // parts, count * (part + 1) // parts) for part in range(parts)]


_restorer: SquareRestorer | None = None
"""Of a worker process."""


def _receive(content: bytes) -> None:
    global _restorer
    _restorer = pickle.loads(content)


def _perform(method: str, call: bytes) -> bytes:
    some, how = pickle.loads(call)
    return pickle.dumps(getattr(_restorer, method)(*some, **how))
