"""Where the pictures of a batch stand in their set, on any process.

Knows what batches tell ("index"), and how a distributed sampler deals a set out. Knows nothing of pictures.
"""

from collections.abc import Mapping
from typing import Any

from lightning import Trainer
from torch import Tensor
from torch.utils.data import DistributedSampler


class Places:
    """Counts the batches of each loader, for those that do not tell their samples' numbers."""

    def __init__(self) -> None:
        self._seen: dict[tuple[str, int], int] = {}

    def reset(self) -> None:
        """All loaders begin anew."""
        self._seen.clear()

    def of(self, trainer: Trainer, stage: str, loader: int, batch: Any, count: int) -> list[int | None]:
        """The places of the first `count` samples of the next batch; None is a sample that the sampler repeats.

        Args:
            trainer: which knows the processes and the loaders.
            stage: "val" or "test".
            loader: its number in that stage.
            batch: asked for "index"; without, places are those that Lightning's own sampler gave.
            count: how many of the batch are looked at.
        """
        seen = self._seen.get((stage, loader), 0)
        self._seen[stage, loader] = seen + (first_length(batch) or count)
        if known := column(batch, "index", count):
            return known
        # A distributed sampler deals a set out like cards, and begins again with the first where one is short.
        places = [(seen + row) * trainer.world_size + trainer.global_rank for row in range(count)]
        size = _dealt(trainer, stage, loader)
        return [place if size is None or place < size else None for place in places]


def column(batch: Any, key: str, count: int) -> list[Any]:
    """The first entries that a batch has under a key; empty where it has none."""
    if not isinstance(batch, Mapping) or key not in batch:
        return []
    found = batch[key]
    return list(found[:count].tolist() if isinstance(found, Tensor) else found[:count])


def first_length(batch: Any) -> int:
    """Length of the first tensor in a batch, however deep; 0 where there is none."""
    if isinstance(batch, Tensor):
        return len(batch) if batch.ndim else 1
    if isinstance(batch, Mapping):
        batch = batch.values()
    elif not isinstance(batch, list | tuple):
        return 0
    return next((length for part in batch if (length := first_length(part))), 0)


def _dealt(trainer: Trainer, stage: str, loader: int) -> int | None:
    """Length of a set that is dealt out to processes; None where nobody deals."""
    loaders = getattr(trainer, f"{stage}_dataloaders", None)
    if isinstance(loaders, Mapping):
        loaders = list(loaders.values())
    every = loaders if isinstance(loaders, list | tuple) else [loaders]
    sampler = getattr(every[loader], "sampler", None) if loader < len(every) else None
    return len(sampler.dataset) if isinstance(sampler, DistributedSampler) else None  # type: ignore[arg-type]
