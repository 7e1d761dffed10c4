"""`study`: scores arms, sets and seeds of a plan, and writes its page. Knows flags and what is printed."""

import argparse
import shlex
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lit_pure.baselines.table import BASELINES
from lit_pure.commands.parsing import Subparsers, add, comma_list, say, whole_number
from lit_pure.config.compose import COMMAND_LINE, ConfigError
from lit_pure.config.project import make_or

if TYPE_CHECKING:
    from lit_pure.study.jobs import StudyJob
    from lit_pure.study.plan import StudyConfig
    from lit_pure.study.sets import Pictures
    from lit_pure.study.workers import Progress


def arguments(commands: "Subparsers[argparse.ArgumentParser]") -> None:
    """Add the command."""
    command = add(commands, "study", study_command)
    command.add_argument("name", metavar="NAME", help="a plan, data/studies/NAME.yaml")
    command.add_argument(
        "--out", type=Path, default=Path("docs/studies"), help="folder for page and scores (default: docs/studies)"
    )
    command.add_argument(
        "--work", type=Path, default=Path("studies"), help="folder for intermediate files (default: studies)"
    )
    command.add_argument(
        "--workers", type=whole_number(1), default=2, metavar="N", help="processes, with one thread each (default: 2)"
    )
    command.add_argument("--arms", type=comma_list, default=[], metavar="A,B", help="only these arms")
    command.add_argument("--sets", type=comma_list, default=[], metavar="A,B", help="only these sets")
    command.add_argument("--seeds", type=comma_list, default=[], metavar="0,1", help="only these seeds")
    command.add_argument(
        "--limit", type=whole_number(1), default=0, metavar="N", help="only the first N pictures of each set"
    )
    check = "repeat finished jobs and compare, without changing anything; with --limit, the first N pictures of each"
    command.add_argument("--check", action="store_true", help=check)


def study_command(arguments: argparse.Namespace) -> int:
    """Run a study and write its page.

    Missing runs are made first. A job is one arm on one set with one seed. Scores of finished jobs stay in OUT/scores
    and are not computed again while weights, settings and pictures stay the same; an interrupted study is resumed. The
    page is written from all finished jobs, and lists unfinished ones.
    """
    from lit_pure.study.plan import plan_of

    plan = plan_of(arguments.name)
    _check(arguments, plan)
    if not arguments.check:
        _make_runs(arguments, plan)
    from lit_pure.study.jobs import jobs_of
    from lit_pure.study.sets import pictures_of

    most = 0 if arguments.check else arguments.limit
    sets = {name: pictures_of(name, config, most) for name, config in plan.sets.items()}
    every = list(jobs_of(plan, sets))
    asked = [job for job in every if _is_selected(arguments, job)]
    return _recheck(arguments, asked) if arguments.check else _run_jobs(arguments, plan, sets, every, asked)


def _make_runs(arguments: argparse.Namespace, plan: "StudyConfig") -> None:
    """Make the runs that arms lack. Raises ValueError where one fails, MissingRun for a missing version."""
    from lit_pure.commands.run import check_needs
    from lit_pure.config.compose import compose
    from lit_pure.launch.local import make_runs
    from lit_pure.launch.tasks import Task, missing_needs
    from lit_pure.runs import folder as runs
    from lit_pure.study.jobs import missing_runs

    wanted = {run for arm, run in missing_runs(plan).items() if not arguments.arms or arm in arguments.arms}
    for version in (run for run in wanted if runs.experiment_of(run) != run):
        runs.require(version)
    experiments = [compose(run) for run in sorted(wanted)]
    for experiment in experiments:
        check_needs(experiment)
    needs, waiting = missing_needs([Task(experiment) for experiment in experiments])
    _, failed = make_runs([*needs, *waiting], say)
    if failed:
        raise ValueError("; ".join(f"{run} could not be made ({why})" for run, why in failed.items()))


def _run_jobs(
    arguments: argparse.Namespace,
    plan: "StudyConfig",
    sets: "Mapping[str, Pictures]",
    every: "Sequence[StudyJob]",
    asked: "Sequence[StudyJob]",
) -> int:
    """Run the selected jobs, and write the page from all jobs."""
    from lit_pure.files.atomic import require_writable
    from lit_pure.study.page import write_page
    from lit_pure.study.workers import is_finished, run_jobs

    require_writable(arguments.out)
    todo = [job for job in asked if not is_finished(job, arguments.out, arguments.work)]
    _require_baselines(todo)
    say(f"{len(asked)} jobs, {len(asked) - len(todo)} of them already done")
    limited = f"lit-pure study {shlex.quote(arguments.name)} --limit {arguments.limit}"
    whole = make_or(f"make study NAME={arguments.name}", f"lit-pure study {arguments.name}")
    again = limited if arguments.limit else whole
    try:
        with _bar(todo, 0) as (progress, print_line):
            for job in run_jobs(todo, arguments.out, arguments.work, arguments.workers, progress):
                print_line(f"done: {job.label}")
    finally:
        page = write_page(arguments.name, again, plan, every, sets, arguments.out, arguments.work)
    say(f"{page}: {arguments.name}")
    return 0


def _recheck(arguments: argparse.Namespace, asked: "Sequence[StudyJob]") -> int:
    """Repeat finished jobs, and print how they compare."""
    from lit_pure.study import score_files
    from lit_pure.study.check import recheck_jobs

    jobs = [job for job in asked if score_files.read(job, arguments.out)]
    if not jobs:
        raise ValueError(f"{arguments.out} contains none of these jobs to compare with; run without --check first")
    _require_baselines(jobs)
    differ = 0
    with _bar(jobs, arguments.limit) as (progress, print_line):
        for one in recheck_jobs(jobs, arguments.out, arguments.limit, arguments.workers, progress):
            listed = ", ".join(f"{far:g} {key}" for key, far in one.differences.items())
            note = f"; scores differ by up to {listed}" if listed else ""
            print_line(f"{one.job.label}: {one.same} of {one.of} pictures are the same{note}")
            differ += not one.agrees
    other = "; other processors or releases of torch may round differently" if differ else ""
    say(f"{len(jobs) - differ} of {len(jobs)} jobs agree with the stored scores{other}")
    return 1 if differ else 0


def _require_baselines(jobs: "Sequence[StudyJob]") -> None:
    """Raise ConfigError where the baseline of a job is not installed; kept scores need none."""
    for method in dict.fromkeys(job.method for job in jobs if job.run is None):
        BASELINES[method].require()


@contextmanager
def _bar(jobs: "Sequence[StudyJob]", most: int) -> "Iterator[tuple[Progress, Callable[[str], None]]]":
    """A progress bar over the first `most` pictures of each job, and a function that prints a line beside it."""
    from tqdm import tqdm

    counts = [min(most or len(job.pictures.sources), len(job.pictures.sources)) for job in jobs]
    bar: tqdm[Any] = tqdm(total=sum(counts), unit=" pictures", file=sys.stderr, disable=None)

    def progress(job: "StudyJob", done: int) -> None:
        bar.set_description(job.label, refresh=False)
        bar.update(sum(counts[: jobs.index(job)]) + done - bar.n)

    def print_line(line: str) -> None:
        with bar.external_write_mode(file=sys.stdout):
            print(line, flush=True)

    with bar:
        yield progress, print_line


def _is_selected(arguments: argparse.Namespace, job: "StudyJob") -> bool:
    """Whether the flags select a job."""
    parts = ((arguments.arms, job.arm), (arguments.sets, job.pictures.name), (arguments.seeds, str(job.seed)))
    return all(not wanted or part in wanted for wanted, part in parts)


def _check(arguments: argparse.Namespace, plan: "StudyConfig") -> None:
    """Raises ConfigError where the plan lacks what the flags select, or its layout does not exist."""
    known = {"--arms": list(plan.arms), "--sets": list(plan.sets), "--seeds": [str(seed) for seed in plan.seeds]}
    for flag, there in known.items():
        asked = getattr(arguments, flag.removeprefix("--"))
        if wrong := [one for one in asked if one not in there]:
            raise ConfigError(f"{COMMAND_LINE}: {flag} {wrong[0]}: {arguments.name} has {', '.join(there)}")
    if plan.layout:
        from lit_pure.report.layouts import layout

        layout(plan.layout)
