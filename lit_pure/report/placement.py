"""Places our runs in a layout: below which published row, and with which results.

Knows run folders and layouts, and that figures at different sizes do not compare. Knows nothing of published figures
or of how a table looks.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from lit_pure.config.compose import ConfigError
from lit_pure.report.layouts import Layout
from lit_pure.report.measured import RunResult, run_results, timing_results
from lit_pure.runs import folder as runs
from lit_pure.runs.folder import Run


@dataclass(frozen=True)
class PlacedRun:
    """One of our runs with its results."""

    row: str
    """The published row that it is shown below; "" is none."""
    run: Run
    results: tuple[RunResult, ...]

    @property
    def name(self) -> str:
        """Its name in a table."""
        return f"ours: {self.run.label}"


def place_runs(layout: Layout, chosen: Sequence[Run], *, spread: bool = False) -> list[PlacedRun]:
    """The runs of a layout with their results.

    Args:
        layout: of `LAYOUTS`.
        chosen: runs to show (default: the newest finished run of each experiment that the layout names).
        spread: whether to read scores of single pictures as well.

    Raises:
        ConfigError: a chosen run does not belong to the layout.
        ValueError: a file of a run is damaged.
    """
    named = [(_row_of(layout, run), run) for run in chosen] if chosen else list(_newest_runs(layout))
    for _, run in named:
        if (family := run.summary().get("family", "")) != layout.family:
            wanted = f"runs of family {layout.family}" if layout.family else "none of our runs"
            raise ConfigError(f"{run.label} is a run of family {family}; {layout.table} shows {wanted}")
    results = [
        tuple(timing_results(run) if layout.ours == "complexity" else run_results(run, spread=spread))
        for _, run in named
    ]
    return [PlacedRun(row, run, found) for (row, run), found in zip(named, results, strict=True)]


def mark_other_sizes(placed: Sequence[PlacedRun], published: Mapping[str, int | None]) -> list[PlacedRun]:
    """The same runs, with `differs_in_size` set for results that do not compare with others on their test set.

    Args:
        placed: our runs.
        published: the paper's test sets with the sides of their pictures [px], None where unknown. On these sets, our
            results compare with the paper's at the same size; on all other sets, with each other at one size.
    """
    papers = {plain_name(name): side for name, side in published.items()}
    ours: dict[str, set[int | None]] = {}
    for result in (result for one in placed for result in one.results):
        ours.setdefault(plain_name(result.on), set()).add(result.side)

    def differs(result: RunResult) -> bool:
        on = plain_name(result.on)
        return (result.side is None or result.side != papers[on]) if on in papers else len(ours[on]) > 1

    return [
        replace(one, results=tuple(replace(found, differs_in_size=differs(found)) for found in one.results))
        for one in placed
    ]


def missing_runs(layout: Layout) -> list[tuple[str, str]]:
    """Published row and experiment, for experiments of the layout without a finished run."""
    return [(row, name) for row, name in _rows_and_experiments(layout) if runs.newest_finished(name) is None]


def plain_name(name: str) -> str:
    """A normalized name of a test set: DrealSR, DRealSR and drealsr are one set."""
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _rows_and_experiments(layout: Layout) -> list[tuple[str, str]]:
    return [(row, name) for row, names in layout.fills.items() for name in names]


def _newest_runs(layout: Layout) -> Iterator[tuple[str, Run]]:
    for row, name in _rows_and_experiments(layout):
        if run := runs.newest_finished(name):
            yield row, run


def _row_of(layout: Layout, run: Run) -> str:
    experiment = runs.experiment_of(run.label)
    return next((row for row, name in _rows_and_experiments(layout) if name == experiment), "")
