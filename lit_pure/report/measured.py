"""The figures of our finished runs: means by test set; variances and intervals from the scores of single pictures.

Knows `summary.json`, `scores.csv`, `complexity.json`, and in `config.yaml` the size of pictures. Knows nothing of
papers or tables.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lit_pure.baselines.table import BASELINES
from lit_pure.families.table import family_by_summary
from lit_pure.files.reading import BROKEN
from lit_pure.files.yaml12 import parse, resolved
from lit_pure.metrics import rows
from lit_pure.runs.folder import COMPLEXITY, Run

BETWEEN = "_"
"""Between a baseline and the metric, `test/<set>/bicubic_psnr`; the run's own figures have the metric alone."""


@dataclass(frozen=True)
class MeasuredFigure:
    """One figure of a run."""

    mean: float
    variance: float | None = None
    """Over the pictures of the set; None without scores of single pictures."""
    interval: tuple[float, float] | None = None
    """95 % interval of the mean; None where the pictures give none."""
    n: int | None = None
    """Number of pictures; None without scores of single pictures."""


@dataclass(frozen=True)
class RunResult:
    """The figures of a run on one test set (or machine)."""

    run: Run
    on: str
    """The test set."""
    figures: Mapping[str, MeasuredFigure]
    """By metric key."""
    side: int | None = None
    """Side of the scored pictures [px]; None where the run does not state it."""
    differs_in_size: bool = False
    """Whether the table also has figures on this set at another size, which do not compare with these."""
    how: str = ""
    """Settings of the timing."""

    @property
    def title(self) -> str:
        """The test set, with the size where sizes differ."""
        if not self.differs_in_size:
            return self.on
        return f"{self.on} at {self.side or 'unknown'} px"


def method_of(run: Run) -> str:
    """The name of the run's own pictures in `scores.csv` and in tables."""
    return family_by_summary(run).method


def baseline_of(metric: str) -> str:
    """The baseline that a figure of a summary belongs to; empty: the run itself."""
    return next((name for name in BASELINES if metric.startswith(f"{name}{BETWEEN}")), "")


def run_results(run: Run, *, spread: bool = False) -> list[RunResult]:
    """The results of a run by test set; `spread` adds variances and intervals where single pictures have scores.

    Raises ValueError where a file of the run is damaged.
    """
    means: dict[str, dict[str, float]] = {}
    for (name, metric), value in figures_of(run).items():
        if not baseline_of(metric):
            means.setdefault(name, {})[metric] = value
    scores = _scores(run) if spread else {}
    side = side_of(run) if means else None
    return [
        RunResult(run, name, {key: _figure(key, mean, scores.get((name, key))) for key, mean in figures.items()}, side)
        for name, figures in sorted(means.items())
    ]


def figures_of(run: Run) -> dict[tuple[str, str], float]:
    """All figures `test/<set>/<metric>` of the summary by test set and metric, those of baselines included.

    Raises ValueError where the summary is damaged.
    """
    found: dict[tuple[str, str], float] = {}
    for key, value in run.summary().items():
        if not key.startswith("test/"):
            continue
        parts = key.split("/", 2)
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if len(parts) < 3 or not all(parts) or not number:
            raise ValueError(
                f"{run.folder / 'summary.json'} is damaged: {key} = {value!r}, expected test/SET/METRIC and a number; "
                "delete the run folder, or run it again"
            )
        found[parts[1], parts[2]] = float(value)
    return found


def side_of(run: Run) -> int | None:
    """Side of a run's test pictures [px], from `data.size` of its configuration; None where that is missing.

    Nothing else is read, so that configurations of other versions work as well.
    """
    try:
        side = resolved(parse((run.folder / "config.yaml").read_text(encoding="utf-8"))["data"]["size"])
    except BROKEN:
        return None
    return side if isinstance(side, int) else None


def picture_count(run: Run, on: str) -> int | None:
    """Number of pictures of a test set with scores; None without scores of single pictures."""
    counts = [len(scores) for (name, _), scores in _scores(run).items() if name == on]
    return max(counts, default=None)


def timing_results(run: Run) -> list[RunResult]:
    """Seconds per picture and millions of parameters, as measured by `lit-pure bench restore`; empty before that.

    Raises ValueError where the file is damaged.
    """
    path = run.folder / COMPLEXITY
    if not path.is_file():
        return []
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        total = content["parameters"]["total"] / 1e6
        figures = {"seconds": MeasuredFigure(float(content["seconds_per_image"])), "parameters": MeasuredFigure(total)}
        return [RunResult(run, f"{content['size']} px, {content['device']}", figures, how=_timing_settings(content))]
    except BROKEN as error:
        remedy = f"write it again: lit-pure bench restore --run {run.label}"
        raise ValueError(f"{path} cannot be read ({error!r}); {remedy}") from error


def has_scores(run: Run) -> bool:
    """Whether the run has scores of single pictures."""
    return (run.folder / rows.FILE).is_file()


def _scores(run: Run) -> dict[tuple[str, str], Any]:
    """The scores of the run's own pictures by test set and metric, as series."""
    if not has_scores(run):
        return {}
    table = rows.read_rows(run.folder / rows.FILE)
    own = table[table["method"] == method_of(run)]
    metrics = [name for name in table.columns if name not in rows.KEYS]
    return {(str(name), key): part[key].dropna() for name, part in own.groupby("test_set") for key in metrics}


def _timing_settings(content: Mapping[str, Any]) -> str:
    """The settings that decide the time, besides the machine, in words."""
    named = [f"{key} {content[key]}" for key in ("engine", "dtype", "quantize") if content.get(key, "none") != "none"]
    changed = content.get("settings") or []
    words = changed if isinstance(changed, list) else [changed]
    settings = f"changed settings: {' '.join(map(str, words))}" if words else "otherwise the run's settings"
    return "; ".join([", ".join(named) or "engine and dtype not recorded", settings])


def _figure(key: str, mean: float, scores_N: Any) -> MeasuredFigure:
    if scores_N is None or not len(scores_N):
        return MeasuredFigure(mean)
    import numpy as np

    from lit_pure.metrics.evaluation import mean_of

    found = mean_of(key, scores_N)
    return MeasuredFigure(mean, float(np.var(scores_N)), (found.low, found.high) if found.known else None, found.n)
