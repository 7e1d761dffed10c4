"""The evaluation of one or two folders of pictures: scores, means, differences.

Knows means and differences with their intervals, and the record of an evaluation. Knows nothing of how a picture is
read or scored; imports no torch.

Suffix: N pictures.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from lit_pure.metrics import files
from lit_pure.metrics.choice import Choice
from lit_pure.metrics.intervals import DRAWS, LEVEL, Interval, PairedDifference, bootstrap_mean, paired_difference
from lit_pure.metrics.rows import ScoreRow
from lit_pure.metrics.table import METRICS

SEED = 0
"""Of the resamples. Each interval starts with this seed, so that all metrics resample the same pictures."""


@dataclass(frozen=True)
class EvaluationProblem:
    """A file that is not evaluated, or lacks a score."""

    file: Path
    message: str
    """Also names the file."""
    metric: str = ""
    """The metric without a score; "" where the file is left out of all metrics."""


@dataclass
class Evaluation:
    """Scores of one or two methods."""

    methods: dict[str, Path]
    """Folder of each method: the one evaluated, then the one it is compared with."""
    target: Path | None
    """Folder of the true pictures."""
    choice: Choice
    scores: dict[str, dict[str, dict[str, float]]] = field(init=False)
    """By method, picture and metric; a metric that could not score a picture is missing."""
    of_sets: dict[str, dict[str, float]] = field(init=False)
    """By method and metric: scores of the whole set, such as FID."""
    problems: list[EvaluationProblem] = field(default_factory=list)
    maps: int = 0
    """Number of entropy maps of `lit-pure restore`, which were ignored."""
    level: float = LEVEL
    draws: int = DRAWS
    seed: int = SEED

    def __post_init__(self) -> None:
        self.scores = {method: {} for method in self.methods}
        self.of_sets = {method: {} for method in self.methods}

    @property
    def by_picture(self) -> list[str]:
        """The metrics that score single pictures."""
        return [key for key in self.choice.metrics if not METRICS[key].of_sets]

    @property
    def test_set(self) -> str:
        """The name of the true pictures' folder; without one, that of the evaluated pictures."""
        return (self.target or next(iter(self.methods.values()))).resolve().name

    def means(self) -> dict[str, dict[str, Interval]]:
        """Mean and interval by method and metric; a score of the whole set has no interval."""
        return {method: {key: self._mean(method, key) for key in self.choice.metrics} for method in self.methods}

    def differences(self) -> dict[str, PairedDifference]:
        """By metric, the first method minus the second, over the pictures with both scores; empty for one method.

        A score of the whole set has no pairs: its difference is that of `means`.
        """
        if len(self.methods) < 2:
            return {}
        mine, theirs = self.scores.values()
        found: dict[str, PairedDifference] = {}
        for key in self.by_picture:
            both = [name for name in mine if key in mine[name] and key in theirs[name]]
            a_N, b_N = ([one[name][key] for name in both] for one in (mine, theirs))
            found[key] = difference_of(key, a_N, b_N, level=self.level, draws=self.draws, seed=self.seed)
        return found

    def rows(self) -> list[ScoreRow]:
        """One row per method and picture, as in `scores.csv`."""
        return [
            ScoreRow(self.test_set, method, name, row)
            for method, pictures in self.scores.items()
            for name, row in pictures.items()
        ]

    def record(self) -> dict[str, Any]:
        """Everything except the scores of single pictures, ready for JSON; unknown values are None."""
        mine, *other = self.methods
        return {
            "test_set": self.test_set,
            "target": str(self.target) if self.target else None,
            "methods": {
                method: {
                    "folder": str(folder),
                    "images": len(self.scores[method]),
                    "metrics": {key: _interval_record(one) for key, one in means.items()},
                }
                for (method, folder), means in zip(self.methods.items(), self.means().values(), strict=True)
            },
            "differences": {
                "of": f"{mine} minus {other[0]}",
                "metrics": {key: _paired_record(one) for key, one in self.differences().items()},
            }
            if other
            else None,
            "protocol": self.choice.protocol or None,
            "border": self.choice.border,
            "left_out": self.choice.left_out,
            "skipped": [
                {"file": str(one.file), "metric": one.metric or None, "reason": one.message} for one in self.problems
            ],
            "bootstrap": {"method": "studentized", "level": self.level, "draws": self.draws, "seed": self.seed},
            **files.identity(self.choice.metrics),
        }

    def _mean(self, method: str, key: str) -> Interval:
        rows = self.scores[method].values()
        if METRICS[key].of_sets:
            return Interval(self.of_sets[method].get(key, np.nan), np.nan, np.nan, len(rows))
        values = (row[key] for row in rows if key in row)
        return mean_of(key, values, level=self.level, draws=self.draws, seed=self.seed)


def mean_of(
    key: str, values_N: Iterable[float], *, level: float = LEVEL, draws: int = DRAWS, seed: int = SEED
) -> Interval:
    """The mean of a metric's scores with its interval, kept inside the metric's range; the same wherever it is shown.

    Args:
        key: of `METRICS`; other keys have no range.
        values_N: one score per picture.
        level: how often the interval holds the true mean, in (0, 1).
        draws: resamples.
        seed: of the resamples.

    Raises ValueError as `bootstrap_mean`.
    """
    return bootstrap_mean(list(values_N), np.random.default_rng(seed), level=level, draws=draws, bounds=_range(key))


def difference_of(
    key: str,
    a_N: Sequence[float],
    b_N: Sequence[float],
    *,
    level: float = LEVEL,
    draws: int = DRAWS,
    seed: int = SEED,
) -> PairedDifference:
    """One method minus another on the same pictures, in the same order; the same wherever it is shown.

    Args:
        key: of `METRICS`.
        a_N: scores of one method.
        b_N: those of the other.
        level: how often the interval holds the true difference, in (0, 1).
        draws: resamples.
        seed: of the resamples.

    Raises ValueError as `paired_difference`.
    """
    how = {"higher_is_better": METRICS[key].higher_is_better, "level": level, "draws": draws, "bounds": _range(key)}
    return paired_difference(a_N, b_N, np.random.default_rng(seed), **how)  # type: ignore[arg-type]


def _range(key: str) -> tuple[float, float]:
    return METRICS[key].range if key in METRICS else (-math.inf, math.inf)


def _interval_record(one: Interval) -> dict[str, Any]:
    return {name: _finite_or_none(value) for name, value in asdict(one).items()}


def _paired_record(one: PairedDifference) -> dict[str, Any]:
    counts = {"wins": one.wins, "losses": one.losses, "ties": one.ties, "p": one.p}
    return {**_interval_record(one.difference), **counts}


def _finite_or_none(value: float) -> float | None:
    return value if math.isfinite(value) else None  # JSON has no NaN
