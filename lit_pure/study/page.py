"""The page of a study: the question, what was learned, the claims, pictures, all figures, and how to make it again.

Knows Markdown, the order of a page and where pictures lie. Does not know what scores say (`claims.py`), nor how a
table is filled (`tables.py`).
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from lit_pure.images.geometry import resize
from lit_pure.images.grid import labelled_grid
from lit_pure.images.io import read_image, write_png
from lit_pure.images.maps import maps_beside
from lit_pure.report.layouts import LAYOUTS
from lit_pure.report.render import render
from lit_pure.study import score_files
from lit_pure.study.claims import Scores, judge_claims
from lit_pure.study.curves import curves, write_curves
from lit_pure.study.jobs import StudyJob, missing_runs
from lit_pure.study.levels import level_results, level_tables
from lit_pure.study.plan import ENTROPY, StudyConfig
from lit_pure.study.score_files import Scored
from lit_pure.study.sets import Pictures
from lit_pure.study.tables import beside_published, claims_table, every_arm
from lit_pure.study.workers import is_finished, shown_folder

MEANING_OF_LEVELS = (
    "Every level has the same photographs. The worst tenth is the mean of the tenth of the pictures that score worst; "
    "a column such as `< 20` counts pictures. Each statistic is computed for one seed, and averaged over seeds. In "
    "brackets: the 95 % interval, of counts Jeffreys', of all else that of the studentized bootstrap over pictures; "
    "differences are paired."
)


def write_page(
    name: str,
    command: str,
    plan: StudyConfig,
    jobs: Sequence[StudyJob],
    sets: Mapping[str, Pictures],
    out: Path,
    folder: Path,
) -> Path:
    """Write `out/NAME.md` and its pictures from the finished jobs.

    Args:
        name: of the study.
        command: makes the same page.
        plan: the study.
        jobs: all of its jobs; unfinished ones are left out of the tables and listed at the top.
        sets: its sets.
        out: the folder of kept scores.
        folder: the folder of the pictures to show.

    Returns:
        The path of the page.

    Raises OSError where the page cannot be written, ValueError where kept scores are damaged.
    """
    scores: dict[tuple[str, str], list[Mapping[str, Scored]]] = {}
    undone = [f"{arm} (there is no run of {run} yet)" for arm, run in missing_runs(plan).items()]
    for job in jobs:
        if found := score_files.read(job, out):
            scores.setdefault((job.arm, job.pictures.name), []).append(found)
        else:
            undone.append(job.label)
    counted = [on for on, pictures in sets.items() if not pictures.config.shown]
    parts = [f"# {plan.title}", plan.question.strip()]
    parts += ["Not done yet: " + "; ".join(undone) + "."] if undone else []
    parts += ["## What was learned", _listed(plan.findings)] if plan.findings else []
    parts += ["## Claims", *_claims(plan, scores, counted)] if plan.claims else []
    if pictures := _pictures(name, plan, jobs, sets, out, folder):
        parts += ["## Pictures", "Each strip opens in its full size.", *pictures]
    if plan.levels:
        parts += ["## Along the levels", *_levels(name, plan, scores, out)]
    if counted:
        parts += ["## All scores", *_tables(plan, scores, [on for on in counted if on not in plan.levels])]
    again = f"`{command}` makes this page again, and computes only what is missing."
    parts += ["## How it was made", again, _listed([*_how(jobs, sets), *plan.remarks])]
    path = out / f"{name}.md"
    path.write_text("\n\n".join(part.strip() for part in parts) + "\n", encoding="utf-8")
    return path


def _listed(items: Sequence[str]) -> str:
    return "\n".join(f"- {item}" for item in items)


def _claims(plan: StudyConfig, scores: Scores, sets: Sequence[str]) -> list[str]:
    """Where the claims come from, and a table of them."""
    source = [f"The claims are {plan.source}."] if plan.source else []
    found = judge_claims(plan.parsed_claims(), scores, sets)
    return [*source, render(claims_table(found), "md") if found else "No claim can be checked yet."]


def _levels(name: str, plan: StudyConfig, scores: Scores, out: Path) -> list[str]:
    """The curves, then the tables of each metric; writes the picture of the curves."""
    results = {metric: found for metric in plan.metrics if (found := level_results(plan, scores, metric))}
    if not results:
        return ["There are no scores yet."]
    file = out / f"{name}_levels.png"
    write_curves(curves(results, plan.levels, list(plan.arms)), file)
    listed = _listed([f"`{arm}`: {config.what}" for arm, config in plan.arms.items()])
    shown = f"[![mean and worst tenth of each arm by level]({file.name})]({file.name})"
    tables = [render(table, "md") for metric in results for table in level_tables(plan, scores, metric)]
    return [MEANING_OF_LEVELS, listed, shown, *tables]


def _tables(plan: StudyConfig, scores: Scores, sets: Sequence[str]) -> list[str]:
    """Every arm on every set, then the rows that are like published ones beside those."""
    tables = [render(every_arm(plan, scores, on), "md") for on in sets]
    meaning = (
        "A figure is the mean over pictures; a picture's score is its mean over seeds. In brackets: the 95 % interval "
        "of the studentized bootstrap over pictures. Behind ±: half the distance between the highest and the lowest "
        "mean of a single seed."
    )
    beside = [render(beside_published(plan, LAYOUTS[plan.layout], scores, sets), "md")] if plan.layout else []
    return [meaning, *tables, *beside]


def _pictures(
    name: str, plan: StudyConfig, jobs: Sequence[StudyJob], sets: Mapping[str, Pictures], out: Path, folder: Path
) -> list[str]:
    """A strip per shown picture: what every arm made of it, and where there are entropies, the map of the last arm."""
    lines = []
    for pictures in (one for one in sets.values() if one.config.shown):
        made = [job for job in jobs if job.pictures.name == pictures.name and is_finished(job, out, folder)]
        for pair in pictures.pairs(folder) if made else ():
            columns: dict[str, Tensor] = {}
            maps: list[Tensor] = []
            for job in made:
                shown = shown_folder(job, folder)
                assert shown is not None
                columns[job.arm] = read_image(shown / f"{pair.name}.png")[None]
                maps += [_read_map(file)] if (file := shown / f"{pair.name}.pt").is_file() else []
            hq_13HW = read_image(pair.hq)[None]
            if any(job.method != "reconstruct" for job in made):  # a tokenizer is not shown any LQ picture
                columns = {"LQ": resize(read_image(pair.lq)[None], *hq_13HW.shape[-2:]), **columns}
            columns["ground truth"] = hq_13HW
            with_map = bool(maps) and bool(set(ENTROPY) & set(plan.metrics))
            grid = maps_beside(columns, "entropy", maps[-1][None], "nats") if with_map else labelled_grid(columns)
            file = out / f"{name}_{pair.name}.png"
            write_png(file, grid)
            lines.append(f"[![{pair.name}: {', '.join(columns)}]({file.name})]({file.name})")
    return lines


def _read_map(path: Path) -> Tensor:
    """The entropy of each cell (h, w). Raises ValueError where the file is damaged."""
    try:
        map_hw: Tensor = torch.load(path, weights_only=True)
        if map_hw.ndim != 2:
            raise ValueError("it is no map")
    except Exception as error:  # a damaged pickle may raise any error
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise ValueError(f"{path} cannot be read ({reason}); delete {path.parent}, and it is made again") from error
    return map_hw


def _how(jobs: Sequence[StudyJob], sets: Mapping[str, Pictures]) -> list[str]:
    """Sets, arms and runs, a line each."""
    lines = []
    for on, pictures in sets.items():
        known = pictures.identity
        made = f"; the same pairs: `{pictures.command}`" if pictures.command else ""
        lines.append(f"set `{on}`: {known['pictures']} pictures, {known['how']}{made}")
    arms: dict[str, str] = {}
    for job in jobs:
        run = f" of `{job.run.label}`" if job.run else ""
        given = f", {job.given} given" if job.given else ""
        settings = " ".join(item for item in job.settings if not item.startswith("sampling.seed="))
        arms[job.arm] = f"arm `{job.arm}`: {job.method}{run}{given}" + (f"; `{settings}`" if settings else "")
    return [*lines, *arms.values()]
