"""Scores as torchmetrics: means over any number of processes, in which each sample counts once.

Knows how scores are stored, gathered and averaged. Knows nothing of how one is computed (`score.py`). Samplers repeat
the first samples where the number of processes does not divide the number of samples; with the index of each sample,
the result equals that of a single process, to the last bit.

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
"""In place of an index: the sample always counts."""


class _PerSampleMetric(Metric):
    """Numbers of each sample, on the CPU in float64: (index, D numbers) per row."""

    is_differentiable = False
    full_state_update = False

    def __init__(self, key: str) -> None:
        # Without a cache: a process without new samples would answer from it, and the others would wait forever.
        super().__init__(dist_sync_fn=_gather, compute_with_cache=False)
        self.info: MetricInfo = info_of(key)
        # A unique name: a MetricCollection merges metrics whose states have equal names and first values.
        self._state = f"rows_{key}"
        self.add_state(self._state, [], dist_reduce_fx="cat")

    def forward(self, *args: Any, **kwargs: Any) -> Tensor:
        """As `update`; returns the value of this batch on this process.

        torchmetrics' own `forward` loses its state where an update fails, as it may for an image without a score.
        """
        before = len(getattr(self, self._state))
        self.update(*args, **kwargs)
        value = self._value(_first_rows(getattr(self, self._state)[before:])[:, 1:])
        self._forward_cache: Any = value  # read by Lightning's `self.log`
        return value

    def compute(self) -> Tensor:
        """The value over all processes, NaN before the first sample; a float64 scalar (float32 on Apple's GPUs)."""
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
        """The metric of the numbers of all samples, each once."""

    def _to_device(self, value: Tensor) -> Tensor:
        return value.float().to(self.device) if self.device.type == "mps" else value.to(self.device)

    def _apply(self, fn: Any, exclude_state: Any = "") -> Any:
        return super()._apply(fn, exclude_state=[self._state])  # stored numbers keep their device and dtype


class ImageMetric(_PerSampleMetric):
    """The mean score of all images seen, over all processes.

    `info` has direction and range. The network is not a submodule: checkpoints and optimizers do not see it.

    Args:
        key: a metric of `table.METRICS` that scores single images.
        scorer: computes the scores; None makes one. Metrics may share one, to save memory.

    Raises:
        ValueError: no such metric, or a metric of sets.
        MissingWeights: weights of the metric are missing.
        ImportError: a package that the metric needs is not installed.
    """

    def __init__(self, key: str, scorer: Scorer | None = None) -> None:
        super().__init__(key)
        if self.info.of_sets:
            raise ValueError(f"{key} has no score for a single image; use SetMetric")
        self._scorer = scorer or Scorer(key)

    def update(self, pred_B3HW: Tensor, target_B3HW: Tensor | None = None, index_B: Tensor | None = None) -> None:
        """Score a batch and store the scores.

        Args:
            pred_B3HW: as in `scores`.
            target_B3HW: as in `scores`.
            index_B: index of each sample in the data set, from 0; a sample seen before, on any process, does not count
                again. None: every image counts.

        Raises:
            NotScorable, ValueError: as `scores`; nothing is stored then.
        """
        self._remember(self.scores(pred_B3HW, target_B3HW)[:, None], index_B)

    def scores(self, pred_B3HW: Tensor, target_B3HW: Tensor | None = None) -> Tensor:
        """One score per image `(B,)`, float64, without storing it; arguments and errors as in `Scorer.scores`."""
        return self._scorer.scores(pred_B3HW, target_B3HW)

    def rows(self) -> list[tuple[int, float]]:
        """(index, score) of all samples of all processes, sorted by index; all processes must call it together.

        Samples without an index come first, with -1.
        """
        apart = not self._is_synced
        with self.sync_context(dist_sync_fn=self.dist_sync_fn, should_sync=apart, should_unsync=apart):
            rows_N2 = _first_rows(getattr(self, self._state))
        return [(int(index), score) for index, score in rows_N2.tolist()]

    def _value(self, values_ND: Tensor) -> Tensor:
        return self._to_device(values_ND.mean())


class SetMetric(_PerSampleMetric):
    """The distance between two sets of images, over all processes; NaN for fewer than two images.

    Args:
        key: a metric of `table.METRICS` of sets, such as fid.
        frechet: computes the features; None makes one. Metrics may share one.

    Raises:
        ValueError: no such metric, or a metric of single images.
        MissingWeights: weights of the metric are missing.
        ImportError: a package that the metric needs is not installed.
    """

    def __init__(self, key: str, frechet: Frechet | None = None) -> None:
        super().__init__(key)
        if not self.info.of_sets:
            raise ValueError(f"{key} scores single images; use ImageMetric")
        self._frechet = frechet or Frechet(key)

    def update(self, pred_B3HW: Tensor, target_B3HW: Tensor, index_B: Tensor | None = None) -> None:
        """Store the features of the images of both sets, in [0, 1]; `index_B` and errors as in `ImageMetric.update`."""
        features_BD = torch.cat([self._frechet.features(image_B3HW) for image_B3HW in (pred_B3HW, target_B3HW)], 1)
        self._remember(features_BD, index_B)

    def _value(self, values_ND: Tensor) -> Tensor:
        apart = distance(*values_ND.chunk(2, 1)) if len(values_ND) > 1 else float("nan")
        return self._to_device(torch.tensor(apart, dtype=torch.float64))


def _first_rows(rows: list[Tensor] | Tensor) -> Tensor:
    """The first row (N, 1 + D) of each index, sorted by index, after all rows without an index."""
    if isinstance(rows, list):  # gathered rows are one tensor
        rows = torch.cat(rows) if rows else torch.empty(0, 2, dtype=torch.float64)
    index_N, order_N = rows[:, 0].sort(stable=True)
    first_N = torch.ones(len(rows), dtype=torch.bool)
    first_N[1:] = (index_N[1:] != index_N[:-1]) | (index_N[1:] == UNKNOWN)
    return rows[order_N[first_N]]


def _gather(rows: Tensor, group: Any = None) -> list[Tensor]:
    """The rows of all processes.

    torchmetrics gives a process without samples a float32 tensor of another shape, which cannot be gathered: it is
    replaced.
    """
    if not rows.numel():
        rows = torch.empty(0, 2, dtype=torch.float64)
    # NCCL gathers on GPUs only.
    device = "cuda" if distributed.get_backend(group) == "nccl" else "cpu"
    gathered = [part_ND.cpu() for part_ND in gather_all_tensors(rows.to(device), group)]
    return [part_ND for part_ND in gathered if len(part_ND)] or [rows]
