"""The sample indices of a batch: where its pictures are in their set, on any process.

Knows the "index" of a batch, and how a distributed sampler distributes a set. Knows nothing of pictures.
"""

from collections.abc import Mapping
from typing import Any

from lightning import Trainer
from torch import Tensor
from torch.utils.data import DistributedSampler


class BatchIndex:
    """Finds the sample indices of a batch; counts the batches of each loader for batches without "index"."""

    def __init__(self) -> None:
        self._seen: dict[tuple[str, int], int] = {}

    def reset(self) -> None:
        """All loaders start again."""
        self._seen.clear()

    def sample_indices(self, trainer: Trainer, stage: str, loader: int, batch: Any, count: int) -> list[int | None]:
        """The indices of the first `count` samples of the next batch; None for a sample that the sampler repeats.

        Args:
            trainer: knows the processes and the loaders.
            stage: "val" or "test".
            loader: its number in that stage.
            batch: its "index" is used; without one, the order of Lightning's own sampler.
            count: how many samples of the batch are used.
        """
        seen = self._seen.get((stage, loader), 0)
        self._seen[stage, loader] = seen + (first_length(batch) or count)
        if known := column(batch, "index", count):
            return known
        # A distributed sampler gives process r the samples r, r + world, ...; it repeats the first ones at the end.
        indices = [(seen + row) * trainer.world_size + trainer.global_rank for row in range(count)]
        size = _sampled_length(trainer, stage, loader)
        return [index if size is None or index < size else None for index in indices]


def column(batch: Any, key: str, count: int) -> list[Any]:
    """The first entries of a batch under a key; empty if it has none."""
    if not isinstance(batch, Mapping) or key not in batch:
        return []
    entries = batch[key]
    return list(entries[:count].tolist() if isinstance(entries, Tensor) else entries[:count])


def first_length(batch: Any) -> int:
    """The length of the first tensor in a batch, at any depth; 0 without one."""
    if isinstance(batch, Tensor):
        return len(batch) if batch.ndim else 1
    if isinstance(batch, Mapping):
        batch = batch.values()
    elif not isinstance(batch, list | tuple):
        return 0
    return next((length for part in batch if (length := first_length(part))), 0)


def _sampled_length(trainer: Trainer, stage: str, loader: int) -> int | None:
    """The length of a set with a distributed sampler; None without one."""
    loaders = getattr(trainer, f"{stage}_dataloaders", None)
    if isinstance(loaders, Mapping):
        loaders = list(loaders.values())
    every = loaders if isinstance(loaders, list | tuple) else [loaders]
    sampler = getattr(every[loader], "sampler", None) if loader < len(every) else None
    return len(sampler.dataset) if isinstance(sampler, DistributedSampler) else None  # type: ignore[arg-type]
