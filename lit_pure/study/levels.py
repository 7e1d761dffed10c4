"""How each arm holds up while the same photographs are degraded further: estimates by level, and their tables.

Knows arms, levels and statistics (`statistics.py`). Knows nothing of how scores were made, of curves (`curves.py`), or
of the page around the tables.

Suffix: N pictures.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lit_pure.metrics.evaluation import SEED
from lit_pure.metrics.intervals import Interval, bootstrap_mean
from lit_pure.report.table import Cell, Table, TableRow
from lit_pure.study.claims import Scores, by_picture
from lit_pure.study.plan import StudyConfig
from lit_pure.study.score_files import Scored
from lit_pure.study.statistics import Statistic, statistics_of
from lit_pure.study.tables import GLUE, label_of, number, span

Seeds = Sequence[Mapping[str, Scored]]


@dataclass(frozen=True)
class LevelResult:
    """One statistic of one arm at one level."""

    arm: str
    level: str
    metric: str
    statistic: Statistic
    value: Interval


def level_results(plan: StudyConfig, scores: Scores, metric: str) -> list[LevelResult]:
    """All statistics of a metric, by level and arm; what has no scores yet is left out."""
    return [
        LevelResult(arm, level, metric, one, one.estimate(_parts(seeds, metric, one, names)))
        for level in plan.levels
        for arm in plan.arms
        if (names := sorted(by_picture(seeds := scores.get((arm, level), []), metric)))
        for one in statistics_of(metric, plan.poor_scores(metric))
    ]


def difference(ours: Seeds, theirs: Seeds, metric: str, statistic: Statistic) -> Interval:
    """A statistic of one minus that of the other over the pictures of both, with its paired interval."""
    names = sorted(by_picture(ours, metric).keys() & by_picture(theirs, metric).keys())
    a_N, b_N = (_parts(seeds, metric, statistic, names) for seeds in (ours, theirs))
    return bootstrap_mean(a_N - b_N, np.random.default_rng(SEED))


def level_tables(plan: StudyConfig, scores: Scores, metric: str) -> Iterator[Table]:
    """Statistics of every arm at every level; each arm minus the first; each level minus the mildest."""
    results = level_results(plan, scores, metric)
    if not results:
        return
    statistics = statistics_of(metric, plan.poor_scores(metric))
    columns = {one.label: one.better for one in statistics}
    blocks = []
    for level in plan.levels:
        cells: dict[str, list[Cell]] = {}
        for one in results:
            if one.level == level:
                cells.setdefault(one.arm, []).append(Cell(_shown(metric, one.statistic, one.value)))
        blocks.append(tuple(TableRow((level, arm), tuple(own)) for arm, own in cells.items()))
    title = f"{label_of(metric)} by level"
    yield Table(title, ("level", "arm"), columns, tuple(block for block in blocks if block))

    first, *arms = plan.arms
    pairs = [((level, arm), (arm, level), (first, level)) for level in plan.levels for arm in arms]
    title = f"{label_of(metric)}: each arm minus `{first}`, on the same pictures"
    yield from _differences(title, ("level", "arm"), pairs, scores, metric, statistics)

    mildest, *levels = plan.levels
    pairs = [((arm, level), (arm, level), (arm, mildest)) for arm in plan.arms for level in levels]
    title = f"{label_of(metric)}: each level minus `{mildest}`, on the same photographs"
    yield from _differences(title, ("arm", "level"), pairs, scores, metric, statistics)


def _differences(
    title: str,
    heads: tuple[str, ...],
    pairs: Sequence[tuple[tuple[str, ...], tuple[str, str], tuple[str, str]]],
    scores: Scores,
    metric: str,
    statistics: Sequence[Statistic],
) -> Iterator[Table]:
    """A table with a row for each pair of (arm, set) that both have scores; none without rows."""
    rows = []
    for head, ours, theirs in pairs:
        a, b = scores.get(ours, []), scores.get(theirs, [])
        if a and b:
            found = [(one, difference(a, b, metric, one)) for one in statistics]
            rows.append(TableRow(head, tuple(Cell(_shown(metric, *one, sign="+")) for one in found)))
    if rows:
        yield Table(title, heads, {one.label: "" for one in statistics}, (tuple(rows),))


def _parts(seeds: Seeds, metric: str, statistic: Statistic, names: Sequence[str]) -> NDArray[np.float64]:
    """The parts of a statistic; those of several seeds are averaged, so that their draws are not averaged away."""
    each = [statistic.parts(np.array([one[name].scores[metric] for name in names], np.float64)) for one in seeds]
    averaged_N: NDArray[np.float64] = np.mean(each, axis=0) if names else np.zeros(0)
    return averaged_N


def _shown(metric: str, statistic: Statistic, value: Interval, sign: str = "") -> str:
    """A statistic with its interval: pictures by their number, variances with three digits, scores as elsewhere."""
    if not value.n:
        return Cell().text
    if statistic.unit == "score":
        return number(metric, value.mean, sign) + span(metric, value, sign)
    factor = value.n if statistic.unit == "pictures" else 1
    mean, low, high = (f"{end * factor:{sign}.3g}" for end in (value.mean, value.low, value.high))
    return mean + (f" ({low}{GLUE}..{GLUE}{high})" if value.known else "")
