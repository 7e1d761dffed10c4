"""The tables of a study's page: claims, every arm with intervals, and ours beside the rows that a paper published.

Knows rows and columns. Does not know how scores were made, nor the page around the tables.
"""

import math
from collections.abc import Mapping, Sequence

from lit_pure.metrics.intervals import Interval
from lit_pure.metrics.table import METRICS
from lit_pure.report.assemble import keys
from lit_pure.report.layouts import Layout
from lit_pure.report.published import ASIDES, PublishedTable, load
from lit_pure.report.table import Cell, Table, TableRow, mark_best
from lit_pure.study.claims import ClaimResult, Scores, mean, spread
from lit_pure.study.plan import ENTROPY, Claim, StudyConfig
from lit_pure.study.score_files import Scored

GLUE = "\u00a0"
"""A space at which no line is broken."""


def label_of(metric: str) -> str:
    """What a metric is called in tables."""
    return METRICS[metric].label if metric in METRICS else ENTROPY[metric]


def number(metric: str, value: float, sign: str = "") -> str:
    """A figure with the digits of its metric."""
    return f"{value:{sign}.{METRICS[metric].decimals if metric in METRICS else 3}f}"


def span(metric: str, one: Interval, sign: str = "") -> str:
    """The ends of an interval in brackets, which a narrow column does not break; nothing where there is none."""
    return f" ({number(metric, one.low, sign)}{GLUE}..{GLUE}{number(metric, one.high, sign)})" if one.known else ""


def claims_table(found: Sequence[ClaimResult]) -> Table:
    """A row for each claim and set: its answer, and the difference that decides it."""
    rows = []
    for one in found:
        metric = one.claim.metric
        difference = number(metric, one.difference.mean, "+") + span(metric, one.difference, "+")
        cells = (difference, f"{one.wins} of {one.difference.n}", f"{one.seeds[0]}, {one.seeds[1]}")
        rows.append(TableRow((_in_words(one.claim), one.on, one.answer), tuple(Cell(text) for text in cells)))
    title = "Difference: the first arm minus the second, mean over pictures, with its 95 % interval"
    return Table(
        title, ("claim", "set", "answer"), dict.fromkeys(("difference", "better on", "seeds"), ""), (tuple(rows),)
    )


def _in_words(claim: Claim) -> str:
    beyond = (
        f" by at least {claim.by:g}" if claim.by > 0 else f", or worse by at most {-claim.by:g}" if claim.by else ""
    )
    return f"{label_of(claim.metric)}: {claim.better} better than {claim.than}{beyond}"


def every_arm(plan: StudyConfig, scores: Scores, on: str) -> Table:
    """Means of all arms on a set, with 95 % intervals and, of several seeds, how far their means lie apart."""
    rows = []
    for name, arm in plan.arms.items():
        if not (seeds := scores.get((name, on), [])):
            continue
        cells = []
        for metric in plan.metrics:
            found = mean(seeds, metric)
            aside = f" ± {number(metric, spread(seeds, metric) / 2)}" if len(seeds) > 1 and found.n else ""
            cells.append(Cell(number(metric, found.mean) + aside + span(metric, found)) if found.n else Cell())
        rows.append(TableRow((name, arm.what, str(len(seeds))), tuple(cells)))
    pictures = max((len(one) for (_, where), seeds in scores.items() if where == on for one in seeds), default=0)
    columns = {label_of(metric): _better(metric) for metric in plan.metrics}
    return Table(f"{on}, {pictures} pictures", ("arm", "what", "seeds"), columns, (tuple(rows),))


def beside_published(plan: StudyConfig, layout: Layout, scores: Scores, sets: Sequence[str]) -> Table:
    """The published table with the arms that are like its rows below them."""
    paper = load(layout.paper)
    published = paper.table(layout.table)
    made = _across if layout.shape == "across" else _below
    heads, columns, rows = made(plan, layout, published, scores, sets)
    title = f"{paper.name}, {published.place} (arXiv {paper.arxiv}): {published.title}"
    notes = ["Figures on different sets, or at different sizes, do not compare; within a set the best is bold."]
    if published.aside == "variance" and layout.shape != "across":
        notes.insert(0, "The second figure of a cell is the variance over pictures.")
    aside = (published.aside, ASIDES[published.aside])
    return Table(title, heads, columns, mark_best([rows], list(columns.values())), tuple(notes), aside)


def _below(
    plan: StudyConfig, layout: Layout, published: PublishedTable, scores: Scores, sets: Sequence[str]
) -> tuple[tuple[str, ...], dict[str, str], list[TableRow]]:
    """Ours below each published row, set by set."""
    rows = []
    metrics = list(keys(layout, published).values())
    for part, lines in published.sets.items():
        for row, figures in lines.items():
            cells = tuple(Cell(one.text, one.aside) if one else Cell() for one in figures)
            rows.append(TableRow((row, part), cells, part))
            for name in (name for name, arm in plan.arms.items() if arm.row == row):
                for on in sets:
                    if seeds := scores.get((name, on)):
                        cells = tuple(_cell(seeds, metric, published, at) for at, metric in enumerate(metrics))
                        rows.append(TableRow((f"ours: {name}", on), cells, on, below=True))
    return (published.rows, published.parts), dict(published.columns), rows


def _across(
    plan: StudyConfig, layout: Layout, published: PublishedTable, scores: Scores, sets: Sequence[str]
) -> tuple[tuple[str, ...], dict[str, str], list[TableRow]]:
    """A column per test set, of the paper and then of ours, for tables of a single metric."""
    [metric], [better] = keys(layout, published).values(), published.columns.values()
    theirs = list(published.sets)
    rows = []
    for row in published.sets[theirs[0]]:
        printed = [published.sets[part][row][0] for part in theirs]
        cells = [Cell(one.text) if one else Cell() for one in printed]
        rows.append(TableRow((row,), (*cells, *[Cell()] * len(sets)), "paper"))
        for name in (name for name, arm in plan.arms.items() if arm.row == row):
            ours = [_cell(scores.get((name, on), []), metric, published, 0) for on in sets]
            rows.append(TableRow((f"ours: {name}",), (*[Cell()] * len(theirs), *ours), "ours", below=True))
    return (published.rows,), dict.fromkeys((*theirs, *sets), better), rows


def _cell(seeds: Sequence[Mapping[str, Scored]], metric: str, published: PublishedTable, at: int) -> Cell:
    found = mean(seeds, metric)
    return Cell(f"{found.mean:.{published.decimals(at)[0]}f}") if math.isfinite(found.mean) else Cell()


def _better(metric: str) -> str:
    if metric in METRICS:
        return "higher" if METRICS[metric].higher_is_better else "lower"
    return ""
