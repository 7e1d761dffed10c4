"""What finished runs of ours measured: means by test set, from the scores of single pictures variances and intervals.

Knows `summary.json`, `scores.csv` and `complexity.json` of a run folder. Knows nothing of papers or tables.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lit_pure.metrics import rows
from lit_pure.runs import COMPLEXITY, Run

BICUBIC = "bicubic_"
"""Begins the metrics of bicubic enlargement, `test/<set>/bicubic_<metric>`."""
OWN = {"tokenizer": "reconstructed", "dem": "estimated"}
"""What a family does with a test picture, where that is not restoring it."""
SEED = 0
"""Of the resamples, for each interval anew, so that all metrics resample the same pictures."""


@dataclass(frozen=True)
class Measured:
    """One figure of a run."""

    mean: float
    variance: float | None = None
    """Over the pictures of the set; None where single pictures have no scores."""
    interval: tuple[float, float] | None = None
    """Where the true mean lies in 95 of 100 cases; None where the pictures do not say."""


@dataclass(frozen=True)
class Result:
    """What a run measured on one test set (or machine)."""

    run: Run
    on: str
    """The test set."""
    figures: Mapping[str, Measured]
    """By metric key."""


def method_of(run: Run) -> str:
    """What the run's own pictures are called in `scores.csv` and in tables."""
    return OWN.get(run.summary().get("family", ""), "restored")


def tested(run: Run, *, spread: bool = False) -> list[Result]:
    """The run's results by test set; `spread` adds variances and intervals where the run has scores of single pictures.

    Raises ValueError where a file of the run is damaged.
    """
    means: dict[str, dict[str, float]] = {}
    for key, value in run.summary().items():
        if key.startswith("test/") and not (metric := key.split("/", 2)[2]).startswith(BICUBIC):
            means.setdefault(key.split("/")[1], {})[metric] = float(value)
    scores = _scores(run) if spread else {}
    return [
        Result(run, name, {key: _measured(mean, scores.get((name, key))) for key, mean in figures.items()})
        for name, figures in sorted(means.items())
    ]


def timed(run: Run) -> list[Result]:
    """Seconds per picture and parameters in millions, as `lit-pure bench restore` measured them; nothing before.

    Raises ValueError where the file is damaged.
    """
    path = run.folder / COMPLEXITY
    if not path.is_file():
        return []
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        total = content["parameters"]["total"] / 1e6
        figures = {"seconds": Measured(float(content["seconds_per_image"])), "parameters": Measured(total)}
        return [Result(run, f"{content['size']} px, {content['device']}", figures)]
    except (OSError, ValueError, KeyError, TypeError) as error:
        remedy = f"make it again: lit-pure bench restore {run.label}"
        raise ValueError(f"{path} cannot be read ({error!r}); {remedy}") from error


def has_scores(run: Run) -> bool:
    """Whether scores of single pictures were kept."""
    return (run.folder / rows.FILE).is_file()


def _scores(run: Run) -> dict[tuple[str, str], Any]:
    """By test set and metric, the scores of the run's own pictures, in a series."""
    if not has_scores(run):
        return {}
    table = rows.read_rows(run.folder / rows.FILE)
    own = table[table["method"] == method_of(run)]
    metrics = [name for name in table.columns if name not in rows.KEYS]
    return {(str(name), key): part[key].dropna() for name, part in own.groupby("test_set") for key in metrics}


def _measured(mean: float, scores_N: Any) -> Measured:
    if scores_N is None or not len(scores_N):
        return Measured(mean)
    import numpy as np

    from lit_pure.metrics.intervals import bootstrap_mean

    found = bootstrap_mean(scores_N, np.random.default_rng(SEED))
    interval = None if math.isnan(found.low) else (found.low, found.high)
    return Measured(mean, float(np.var(scores_N)), interval)
