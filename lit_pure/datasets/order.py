"""The order of samples, and which process takes which.

Every order is a function of (seed, epoch); the only state is a number of samples. Knows nothing of what a sample is.
"""

from collections.abc import Callable, Iterator
from itertools import islice

import numpy as np
from torch.utils.data import Sampler

Key = tuple[int, int]
"""(epoch, index): what a sampler yields and a data set takes."""
CROP_DRAW, DEGRADATION_DRAW, CONDITION_DRAW, PHOTO_DRAW, SHIFT_DRAW, MISREAD_DRAW, SCALE_DRAW, FLIP_DRAW = range(8)
"""What a random draw is for: the last number of its seed [seed, epoch, index, purpose]."""


class Stream(Sampler[Key]):
    """For training: endless epochs, each in its own order, dealt to the processes in turn.

    The position in the stream is one number, so training resumes exactly where it stopped, on any number of processes:
    a step takes the same samples on any number. Batches stay full where an epoch ends.

    Args:
        length: of the data set.
        seed: of the orders.
        start: samples that all processes together took before.
        rank: of this process, from 0.
        world: number of processes.

    Raises:
        ValueError: an empty data set, a negative start, or a rank outside the world.
    """

    def __init__(self, length: int, seed: int, start: int = 0, rank: int = 0, world: int = 1) -> None:
        _check(length, rank, world)
        if start < 0:
            raise ValueError(f"cannot start a stream at sample {start}; use 0 or more")
        self.length, self.seed, self.start, self.rank, self.world = length, seed, start, rank, world

    def __iter__(self) -> Iterator[Key]:
        place, drawn, order = self.start + self.rank, -1, np.empty(0, int)
        while True:
            epoch, within = divmod(place, self.length)
            if epoch != drawn:
                drawn, order = epoch, np.random.default_rng([self.seed, epoch]).permutation(self.length)
            yield epoch, int(order[within])
            place += self.world


class Epochs(Sampler[Key]):
    """The same stream, an epoch at a time: each iteration goes on from a position to the end of its epoch.

    Where the number of processes does not divide the length, all take as many samples, the last of the next epoch.

    Args:
        stream: of this process; its start is not used.
        position: samples that all processes together have taken so far.
    """

    def __init__(self, stream: Stream, position: Callable[[], int]) -> None:
        self.stream, self.position = stream, position

    def __len__(self) -> int:
        return -(-self.stream.length // self.stream.world)

    def __iter__(self) -> Iterator[Key]:
        own, start = self.stream, self.position()
        left = -(-(own.length - start % own.length) // own.world)
        return islice(Stream(own.length, own.seed, start, own.rank, own.world), left)


class InOrder(Sampler[Key]):
    """For validation and test: every sample once, in order, always of epoch 0.

    Where the number of processes does not divide the length, the first samples are repeated, so that all processes
    take the same number of steps.

    Raises:
        ValueError: an empty data set, or a rank outside the world.
    """

    def __init__(self, length: int, rank: int = 0, world: int = 1) -> None:
        _check(length, rank, world)
        self.length, self.rank, self.world = length, rank, world

    def __len__(self) -> int:
        return -(-self.length // self.world)

    def __iter__(self) -> Iterator[Key]:
        places = range(self.rank, len(self) * self.world, self.world)
        return iter([(0, place % self.length) for place in places])


def _check(length: int, rank: int, world: int) -> None:
    if length < 1:
        raise ValueError(f"cannot sample from a data set of {length} crops; name photographs")
    if not 0 <= rank < world:
        raise ValueError(f"rank {rank} is outside a world of {world} processes")
