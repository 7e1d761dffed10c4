"""Scores as torchmetrics: means over any number of processes in which each sample counts once.

Knows how scores are remembered, gathered and averaged. Knows nothing of how one is computed (`score.py`). Samplers hand
the first samples out again where the number of processes does not divide that of samples: who gives the index of each
sample gets the figures of a single process, to the last bit.

Suffixes: B images of a batch, N samples, D numbers per sample, 3 RGB, H height, W width.
"""

from abc import abstractmethod
from typing import Any

import torch
from torch import Tensor, distributed
from torchmetrics import Metric
from torchmetrics.utilities.distributed import gather_all_tensors

from lit_pure.metrics.score import Frechet, Scorer, distance
from lit_pure.metrics.table import MetricInfo, info_of

UNKNOWN = -1
"""In place of an index: a sample that counts whatever others there are."""


class _PerSampleMetric(Metric):
    """Numbers of each sample, kept on the processor in float64: (index, D numbers) per row."""

    is_differentiable = False
    full_state_update = False

    def __init__(self, key: str) -> None:
        # Without a cache: a process that saw nothing since would answer from it, and leave the others waiting for it.
        super().__init__(dist_sync_fn=_gather, compute_with_cache=False)
        self.info: MetricInfo = info_of(key)
        # A name of its own: a MetricCollection takes metrics for one whose states have equal names and first values.
        self._state = f"rows_{key}"
        self.add_state(self._state, [], dist_reduce_fx="cat")

    def forward(self, *args: Any, **kwargs: Any) -> Tensor:
        """As `update`; returns the value of this batch on this process.

        torchmetrics' own forgets all that it knows where an update fails, as it may for an image without a score.
        """
        before = len(getattr(self, self._state))
        self.update(*args, **kwargs)
        value = self._value(_first_rows(getattr(self, self._state)[before:])[:, 1:])
        self._forward_cache: Any = value  # where Lightning's `self.log` looks
        return value

    def compute(self) -> Tensor:
        """The value over all processes, NaN before the first sample; a scalar, float64 but on Apple's GPUs."""
        return self._value(_first_rows(getattr(self, self._state))[:, 1:])

    def _remember(self, values_BD: Tensor, index_B: Tensor | None) -> None:
        if index_B is None:
            index_B = torch.full((len(values_BD),), UNKNOWN)
        elif index_B.shape != values_BD.shape[:1] or index_B.is_floating_point() or bool((index_B < 0).any()):
            raise ValueError(
                f"{self.info.key}: expected index_B ({len(values_BD)},) of whole numbers from 0, "
                f"found {tuple(index_B.shape)} {index_B.dtype}: {index_B.tolist()}"
            )
        rows_BD = torch.cat([index_B[:, None].cpu().double(), values_BD.detach().cpu().double()], 1)
        getattr(self, self._state).append(rows_BD)

    @abstractmethod
    def _value(self, values_ND: Tensor) -> Tensor:
        """What the numbers of samples, each once, come to."""

    def _to_device(self, value: Tensor) -> Tensor:
        return value.float().to(self.device) if self.device.type == "mps" else value.to(self.device)

    def _apply(self, fn: Any, exclude_state: Any = "") -> Any:
        return super()._apply(fn, exclude_state=[self._state])  # what is remembered stays where it is, and as it is


class ImageMetric(_PerSampleMetric):
    """The mean score of all images seen, over all processes.

    `info` holds the direction and range. The network is no submodule: checkpoints and optimizers see nothing of it.

    Args:
        key: a metric of `table.METRICS` that scores single images.
        scorer: who scores; None makes one. Metrics may share one: it is what needs memory.

    Raises:
        ValueError: no such metric, or one of sets.
        MissingWeights: the metric's weights are not here.
        ImportError: a package that the metric needs is not installed.
    """

    def __init__(self, key: str, scorer: Scorer | None = None) -> None:
        super().__init__(key)
        if self.info.of_sets:
            raise ValueError(f"{key} has no score for a single image; take SetMetric")
        self._scorer = scorer or Scorer(key)

    def update(self, pred_B3HW: Tensor, target_B3HW: Tensor | None = None, index_B: Tensor | None = None) -> None:
        """Score a batch and remember the scores.

        Args:
            pred_B3HW: as in `scores`.
            target_B3HW: as in `scores`.
            index_B: which sample of the data set each is, from 0; one that was seen before, here or on another process,
                is not counted again. None: every image counts.

        Raises:
            NotScorable, ValueError: as `scores`; nothing is remembered then.
        """
        self._remember(self.scores(pred_B3HW, target_B3HW)[:, None], index_B)

    def scores(self, pred_B3HW: Tensor, target_B3HW: Tensor | None = None) -> Tensor:
        """One score per image `(B,)`, float64, remembered nowhere; arguments and errors as in `Scorer.scores`."""
        return self._scorer.scores(pred_B3HW, target_B3HW)

    def rows(self) -> list[tuple[int, float]]:
        """(index, score) of all samples of all processes, by index; the same on each. All processes call it together.

        Those without an index come first, with -1.
        """
        apart = not self._is_synced
        with self.sync_context(dist_sync_fn=self.dist_sync_fn, should_sync=apart, should_unsync=apart):
            rows_N2 = _first_rows(getattr(self, self._state))
        return [(int(index), score) for index, score in rows_N2.tolist()]

    def _value(self, values_ND: Tensor) -> Tensor:
        return self._to_device(values_ND.mean())


class SetMetric(_PerSampleMetric):
    """How far two sets of images are apart, over all processes; NaN for fewer than two images.

    Args:
        key: a metric of `table.METRICS` of sets, such as fid.
        frechet: who computes features; None makes one. Metrics may share one.

    Raises:
        ValueError: no such metric, or one of single images.
        MissingWeights: the metric's weights are not here.
        ImportError: a package that the metric needs is not installed.
    """

    def __init__(self, key: str, frechet: Frechet | None = None) -> None:
        super().__init__(key)
        if not self.info.of_sets:
            raise ValueError(f"{key} scores single images; take ImageMetric")
        self._frechet = frechet or Frechet(key)

    def update(self, pred_B3HW: Tensor, target_B3HW: Tensor, index_B: Tensor | None = None) -> None:
        """Remember the features of both sets' images, in [0, 1]; `index_B` and errors as in `ImageMetric.update`."""
        features_BD = torch.cat([self._frechet.features(image_B3HW) for image_B3HW in (pred_B3HW, target_B3HW)], 1)
        self._remember(features_BD, index_B)

    def _value(self, values_ND: Tensor) -> Tensor:
        apart = distance(*values_ND.chunk(2, 1)) if len(values_ND) > 1 else float("nan")
        return self._to_device(torch.tensor(apart, dtype=torch.float64))


def _first_rows(rows: list[Tensor] | Tensor) -> Tensor:
    """Rows (N, 1 + D) by index, the first of each; those without an index all, before them, as they came."""
    if isinstance(rows, list):  # gathered, they are one tensor
        rows = torch.cat(rows) if rows else torch.empty(0, 2, dtype=torch.float64)
    index_N, order_N = rows[:, 0].sort(stable=True)
    first_N = torch.ones(len(rows), dtype=torch.bool)
    first_N[1:] = (index_N[1:] != index_N[:-1]) | (index_N[1:] == UNKNOWN)
    return rows[order_N[first_N]]


def _gather(rows: Tensor, group: Any = None) -> list[Tensor]:
    """The rows of all processes.

    A process that saw nothing comes with what torchmetrics makes for it: float32 of another shape, which the others
    cannot be gathered with.
    """
    if not rows.numel():
        rows = torch.empty(0, 2, dtype=torch.float64)
    # NCCL gathers on GPUs only.
    there = "cuda" if distributed.get_backend(group) == "nccl" else "cpu"
    gathered = [part_ND.cpu() for part_ND in gather_all_tensors(rows.to(there), group)]
    return [part_ND for part_ND in gathered if len(part_ND)] or [rows]
