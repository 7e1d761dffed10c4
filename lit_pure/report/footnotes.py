"""The notes below a table in a paper's layout: which figures compare, how ours were measured, what is missing.

Knows layouts and their runs. Knows nothing of how notes are written (`render.py`).
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from lit_pure.config.project import command_to_run
from lit_pure.metrics.intervals import LEAST
from lit_pure.metrics.protocols import FOLDER, Protocol, names, protocol
from lit_pure.report.layouts import Layout
from lit_pure.report.measured import has_scores, picture_count
from lit_pure.report.placement import PlacedRun, missing_runs, plain_name
from lit_pure.report.published import PublishedTable
from lit_pure.runs import folder as runs
from lit_pure.runs.folder import Run


def notes(
    layout: Layout,
    published: PublishedTable,
    placed: Sequence[PlacedRun],
    keys: Mapping[str, str],
    *,
    only: str,
    intervals: bool,
    searched: bool,
) -> Iterator[str]:
    """The notes, one after the other.

    Args:
        layout: of the table.
        published: the published table.
        placed: our runs.
        keys: our figure for each column.
        only: the only test set that is shown; "" shows all.
        intervals: whether intervals are shown.
        searched: whether runs were searched for, so that missing ones are reported.
    """
    shown = [result for one in placed for result in one.results]
    if {plain_name(result.title) for result in shown} - {plain_name(name) for name in published.sets}:
        yield _APART[layout.ours]
    yield from _size_notes(placed, published)
    if shown and layout.ours != "complexity":
        yield _recipe(layout, placed, keys)
    if layout.shape == "rows" and len(bases := sorted({str(one.run.summary().get("base")) for one in placed})) > 1:
        yield f"Our runs differ in more than the {published.rows.lower()}: their bases are {', '.join(bases)}."
    if layout.remark:
        yield layout.remark
    if shown and published.aside == "variance":
        yield "The second figure of a cell is the variance over pictures; ours is from the run's scores.csv."
    for one in placed:
        yield from (f"{one.run.label} was timed with {result.how}." for result in one.results if result.how)
    yield from _missing_figures(layout, placed, keys, only)
    if intervals:
        yield from _interval_notes(layout, placed)
    if searched:
        for row, name in missing_runs(layout):
            yield f"{row}: no finished run of {name}; make it with: {runs.make_command(name)}"


_APART = {
    "pure": "Figures on different test sets do not compare: ours are on our own sets, not on the paper's.",
    "tokenizer": "Figures on different test sets do not compare: ours have their own columns.",
    "complexity": "Times on different machines and sizes do not compare.",
}


def _size_notes(placed: Sequence[PlacedRun], published: PublishedTable) -> Iterator[str]:
    """Results at a size that differs from the paper's on its set, or from another run's."""
    papers = {plain_name(name): published.sides.get(name) for name in published.sets}
    for one in placed:
        for result in one.results:
            if not result.differs_in_size:
                continue
            size = f"at {result.side} px" if result.side else "at a size that its config.yaml does not state"
            count = "" if (n := picture_count(one.run, result.on)) is None else f", n = {n}"
            paper = papers.get(plain_name(result.on))
            theirs = f" (the paper's are at {paper} px)" if paper else ""
            yield f"{one.run.label} on {result.on}: {size}{count}{theirs}; not ranked with figures at other sizes."


def _recipe(layout: Layout, placed: Sequence[PlacedRun], keys: Mapping[str, str]) -> str:
    rules = protocol(layout.protocol)
    ways: dict[str, list[str]] = {}
    for one in placed:
        if one.results:
            ways.setdefault(_measuring_words(one.run, rules), []).append(one.run.label)
    measured = "; ".join(f"{way} ({', '.join(labels)})" if len(ways) > 1 else way for way, labels in ways.items())
    color = [f"{label} on {rules.color}" for label in ("PSNR", "SSIM") if label in keys]
    other = [f"{label} is {key}" for label, key in keys.items() if key != label.lower()]
    versions = {str(version) for one in placed if (version := _metrics_record(one.run).get("pyiqa"))}
    recipe = ", ".join([*color, *other, *(f"pyiqa {version}" for version in sorted(versions))])
    return (
        f"Ours are measured {measured}: {recipe}. "
        f"{FOLDER}/{rules.name}.yaml lists what is unknown of the paper's own recipe."
    )


def _measuring_words(run: Run, rules: Protocol) -> str:
    """The protocol that a run was measured by, and how much was cut off its pictures."""
    kept = _metrics_record(run)
    name, border = str(kept.get("protocol") or ""), kept.get("border")
    way = f"by protocol {name}" if name else "without a protocol"
    if name != rules.name:
        way += f", keys as in {rules.name}"
    if not isinstance(border, int):  # that of the protocol
        border = protocol(name).border if name in names() else None if name else 0
    cut = {None: "border not recorded", 0: "whole pictures"}.get(border, f"{border} px cut off each side")
    return f"{way}, {cut}"


def _metrics_record(run: Run) -> Mapping[str, Any]:
    """How the figures of a run were measured; older runs have no such record."""
    kept = run.summary().get("metrics")
    return kept if isinstance(kept, dict) else {}


def _missing_figures(layout: Layout, placed: Sequence[PlacedRun], keys: Mapping[str, str], only: str) -> Iterator[str]:
    """Runs without figures, and columns that runs did not measure."""
    for one in placed:
        if not one.results and layout.ours == "complexity":
            yield f"{one.run.label} was not timed; time it with: lit-pure bench restore --run {one.run.label}"
        elif not one.results and only:
            yield f"{one.run.label} has no figures on {only}."
        elif not one.results:
            yield f"{one.run.label} has no test figures; {_how_to_test(one)}"
    unmeasured = [label for label, key in keys.items() if _is_unmeasured(placed, key)]
    if unmeasured and layout.ours != "complexity":
        yield (
            f"{', '.join(unmeasured)}: not measured by all runs here; "
            f"a run with evaluation.protocol={layout.protocol} measures all columns."
        )


def _is_unmeasured(placed: Sequence[PlacedRun], key: str) -> bool:
    return any(key not in result.figures for one in placed for result in one.results)


def _how_to_test(one: PlacedRun) -> str:
    experiment = runs.experiment_of(one.run.label)
    if one.run.summary().get("family") == "tokenizer":
        return f"measure its weights with: lit-pure reconstruct PHOTO --run {one.run.label}"
    return f"test its weights with: {command_to_run('ablations/sampling/dynamic', f'base={experiment}')}"


def _interval_notes(layout: Layout, placed: Sequence[PlacedRun]) -> Iterator[str]:
    if any(figure.interval for one in placed for result in one.results for figure in result.figures.values()):
        yield (
            "95 % from, to: the interval of the mean over such pictures, right in 95 of 100 cases (bootstrap over the "
            "pictures of the set, fixed seed)."
        )
    if any(one.results for one in placed) and layout.ours != "complexity":
        yield f"A score of the whole set, such as FID, has no interval; fewer than {LEAST} pictures (n) have none."
    for one in placed:
        if one.results and layout.ours != "complexity" and not has_scores(one.run):
            yield f"{one.run.label} has no intervals: it has no scores of single pictures (scores.csv); run it again."
