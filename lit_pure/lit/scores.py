"""The scores of several test sets and methods: their means, and a row for each picture.

Knows which metric belongs to which set and method, its key, and what to gather from other processes. Knows nothing of
how pictures are made or where rows are written. `Scores` is not an nn.Module, so that the LightningModule that holds it
does not own the metrics' networks.

Suffixes: B images, 3 RGB, H height, W width; a leading 1 is one image by itself.
"""

import math
import warnings
from collections.abc import Sequence

from torch import Tensor

from lit_pure.lit.data import Batch
from lit_pure.lit.distributed.processes import gather_objects
from lit_pure.lit.scoring import Scorers, ScoringInput, score
from lit_pure.metrics.metric import ImageMetric, SetMetric
from lit_pure.metrics.rows import ScoreRow
from lit_pure.metrics.score import Frechet
from lit_pure.metrics.table import METRICS

ScoreKey = tuple[str, str, str]
"""(set, method, metric)."""


class Scores:
    """One metric per (set, method, metric), with keys `test/<set>/<metric>`.

    The first method's keys are bare; those of the others name the method: `test/<set>/bicubic_psnr`. Works in any
    LightningModule whose test batches have `name`, `index` (of the sample in its set, on any process) and, if there is
    a ground truth, `hq_B3HW`. Call `reset` when a test starts, `update` in its steps, and `compute` at its end.

    Args:
        sets: names of the test sets.
        metrics: keys of `table.METRICS`.
        methods: labels of what makes pictures, the main one first.
        border: cut off every side of all pictures before they are scored [px].
    """

    def __init__(self, sets: Sequence[str], metrics: Sequence[str], methods: Sequence[str], border: int = 0) -> None:
        self.sets, self.methods, self.metrics, self.border = list(sets), list(methods), list(metrics), border
        self.single = [key for key in self.metrics if not METRICS[key].of_sets]
        """Metrics of single pictures: the columns of `rows`."""
        self.scorers = Scorers(self.single)
        """Their networks, to be shared with others that score in this run."""
        self.means: dict[str, float] = {}
        self.rows: list[ScoreRow] = []
        self._images: dict[ScoreKey, ImageMetric] = {}
        self._of_sets: dict[ScoreKey, SetMetric] = {}
        self._names: dict[tuple[str, int], str] = {}

    def reset(self) -> None:
        """Forget all pictures."""
        self.means, self.rows, self._names = {}, [], {}
        for metric in (*self._images.values(), *self._of_sets.values()):
            metric.reset()

    def update(self, set_index: int, method: str, pred_B3HW: Tensor, batch: Batch) -> None:
        """Score pictures (B, 3, H, W) against the batch's HQ, as 8-bit files will hold them.

        Without HQ, only metrics without a reference are used. A picture without a finite score or pixel is logged and
        left out. A replacement of an unreadable photograph does not count.
        """
        self._make()
        test_set, names = self.sets[set_index], batch["name"]
        used = [row for row, bad in enumerate(batch.get("unreadable") or [""] * len(names)) if not bad]
        every: dict[ScoreKey, ImageMetric | SetMetric] = {**self._images, **self._of_sets}
        metrics = [every[test_set, method, key] for key in self.metrics]
        for row in used:
            one = slice(row, row + 1)
            index_1 = batch["index"][one]
            self._names[test_set, int(index_1)] = names[row]
            target_13HW = batch["hq_B3HW"][one] if "hq_B3HW" in batch else None
            score(ScoringInput(f"{names[row]}, {method}", pred_B3HW[one], target_13HW, index_1), metrics, self.border)

    def compute(self) -> dict[str, float]:
        """The mean of every metric that scored a picture; all processes call it together and get the same.

        Afterwards `means` and `rows` hold the figures; rows are in the order of set, method and sample.
        """
        self._make()
        scores: dict[tuple[str, str, int], dict[str, float]] = {}
        with warnings.catch_warnings():
            # A process or a metric that had nothing to score is not a mistake.
            warnings.filterwarnings("ignore", message="The ``compute`` method of metric")
            # In the same order on all processes, whatever each has seen: otherwise they wait for each other for ever.
            every = {**self._images, **self._of_sets}
            means = {self._log_key(*key): float(metric.compute()) for key, metric in every.items()}
        for (test_set, method, key), metric in self._images.items():
            for index, value in metric.rows():
                scores.setdefault((test_set, method, index), {})[key] = value
        names = {key: name for seen in gather_objects(self._names) for key, name in seen.items()}
        self.means = {key: mean for key, mean in means.items() if math.isfinite(mean)}
        self.rows = [
            ScoreRow(test_set, method, name, scores.get((test_set, method, index), {}))
            for test_set, method, index, name in sorted(
                (test_set, method, index, name) for (test_set, index), name in names.items() for method in self.methods
            )
        ]
        return self.means

    def _log_key(self, test_set: str, method: str, key: str) -> str:
        prefix = "" if method == self.methods[0] else f"{method}_"
        return f"test/{test_set}/{prefix}{key}"

    def _make(self) -> None:
        """Make all metrics, the same on every process; those of one key share their network.

        At first use: pyiqa takes seconds to import, for which a training need not wait.
        """
        if self._images or self._of_sets:
            return
        pairs = [(test_set, method) for test_set in self.sets for method in self.methods]
        for pair in pairs:
            self._images |= {(*pair, key): metric for key, metric in self.scorers.image_metrics().items()}
        for key in self.metrics:
            if METRICS[key].of_sets:
                frechet = Frechet(key)
                self._of_sets |= {(*pair, key): SetMetric(key, frechet) for pair in pairs}
