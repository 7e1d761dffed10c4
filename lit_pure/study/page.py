"""The page of a study: question, answers, tables, pictures, and how all of it is made again.

Knows Markdown and where pictures lie. What the scores say is `claims.py`'s, tables are `tables.py`'s.
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
from lit_pure.study.claims import ClaimResult, Scores, judge_claims
from lit_pure.study.jobs import Job, lacking
from lit_pure.study.plan import ENTROPY, StudyConfig
from lit_pure.study.score_files import Scored
from lit_pure.study.sets import Pictures
from lit_pure.study.tables import beside_published, every_arm, label_of, number, span
from lit_pure.study.workers import is_finished, shown_folder


def write_page(
    name: str,
    command: str,
    plan: StudyConfig,
    jobs: Sequence[Job],
    sets: Mapping[str, Pictures],
    out: Path,
    folder: Path,
) -> Path:
    """Write `out/NAME.md` and its pictures from what is finished.

    Args:
        name: of the study.
        command: makes the same page.
        plan: the study.
        jobs: all of its jobs; those that are not finished are left out, and named.
        sets: its sets.
        out: where scores are kept.
        folder: where pictures to show are.

    Raises OSError where it cannot be written, ValueError where scores are damaged.
    """
    scores: dict[tuple[str, str], list[Mapping[str, Scored]]] = {}
    undone = [f"{arm} (there is no run of {run} yet)" for arm, run in lacking(plan).items()]
    for job in jobs:
        if found := score_files.read(job, out):
            scores.setdefault((job.arm, job.pictures.name), []).append(found)
        else:
            undone.append(job.label)
    counted = [on for on, pictures in sets.items() if not pictures.config.shown]
    parts = [f"# {plan.title}", plan.question.strip(), f"Made again by `{command}`."]
    if undone:
        parts.append("Not done yet: " + "; ".join(undone) + ".")
    parts += ["## Answers", *_answers(plan, scores, counted)] if plan.claims else []
    parts += ["What we read in this:", "\n".join(f"- {finding}" for finding in plan.findings)] if plan.findings else []
    parts += ["## Figures"]
    if plan.layout:
        parts.append(render(beside_published(plan, LAYOUTS[plan.layout], scores, counted), "md"))
    parts += [render(every_arm(plan, scores, on), "md") for on in counted]
    parts.append(
        "Means over pictures, each picture's score its mean over seeds, with 95 % intervals of the studentized "
        "bootstrap over pictures in brackets; ± is half of how far the means of single seeds lie apart."
    )
    if pictures := _pictures(name, plan, jobs, sets, out, folder):
        parts += ["## Pictures", *pictures]
    parts += ["## How", *_how(plan, jobs, sets), *(f"- {remark}" for remark in plan.remarks)]
    path = out / f"{name}.md"
    path.write_text("\n\n".join(part.strip() for part in parts).replace("\n\n- ", "\n- ") + "\n", encoding="utf-8")
    return path


def _answers(plan: StudyConfig, scores: Scores, sets: Sequence[str]) -> list[str]:
    source = [f"What is claimed is {plan.source}."] if plan.source else []
    lines = [f"- {_told(one)}" for one in judge_claims(plan.parsed_claims(), scores, sets)]
    return [*source, "\n".join(lines) or "Nothing is done yet."]


def _told(one: ClaimResult) -> str:
    """A verdict in a line."""
    claim, metric = one.claim, one.claim.metric
    beyond = f" by at least {claim.by:g}" if claim.by else ""
    if claim.by < 0:
        beyond = f", or worse by at most {-claim.by:g}"
    seeds = f"{one.seeds[0]} and {one.seeds[1]} seeds"
    return (
        f"**{label_of(metric)}: {claim.better} better than {claim.than}{beyond}** ({one.on}): {one.answer}; "
        f"{claim.better} - {claim.than} = {number(metric, one.difference.mean, '+')}"
        f"{span(metric, one.difference, '+')}, better on {one.wins} of {one.difference.n} pictures; {seeds}."
    )


def _pictures(
    name: str, plan: StudyConfig, jobs: Sequence[Job], sets: Mapping[str, Pictures], out: Path, folder: Path
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
                maps += [torch.load(file, weights_only=True)] if (file := shown / f"{pair.name}.pt").is_file() else []
            hq_13HW = read_image(pair.hq)[None]
            if any(job.method != "reconstruct" for job in made):  # a tokenizer is not shown any LQ picture
                columns = {"LQ": resize(read_image(pair.lq)[None], *hq_13HW.shape[-2:]), **columns}
            columns["ground truth"] = hq_13HW
            with_map = bool(maps) and bool(set(ENTROPY) & set(plan.metrics))
            grid = maps_beside(columns, "entropy", maps[-1][None], "nats") if with_map else labelled_grid(columns)
            file = out / f"{name}_{pair.name}.png"
            write_png(file, grid)
            lines.append(f"![{pair.name}: {', '.join(columns)}]({file.name})")
    return lines


def _how(plan: StudyConfig, jobs: Sequence[Job], sets: Mapping[str, Pictures]) -> list[str]:
    """Sets, arms and runs, for who wants to do it otherwise."""
    lines = []
    for on, pictures in sets.items():
        known = pictures.identity
        made = f"; the same pairs: `{pictures.command}`" if pictures.command else ""
        lines.append(f"- set `{on}`: {known['pictures']} pictures, {known['how']}{made}")
    told: dict[str, str] = {}
    for job in jobs:
        run = f" of `{job.run.label}`" if job.run else ""
        words = ", words given" if job.given_words else ""
        settings = [item for item in job.settings if not item.startswith("sampling.seed=")]
        told[job.arm] = f"- arm `{job.arm}`: {job.method}{run}{words}" + (
            f"; `{' '.join(settings)}`" if settings else ""
        )
    return ["\n".join([*lines, *told.values()])]
