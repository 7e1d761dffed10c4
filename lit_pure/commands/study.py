"""`study`: arms, sets and seeds of a plan, scored and written up. Knows flags and what is printed."""

import argparse
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lit_pure.commands.parsing import Subparsers, add, comma_list, say
from lit_pure.config.compose import COMMAND_LINE, ConfigError

if TYPE_CHECKING:
    from lit_pure.study.jobs import Job
    from lit_pure.study.plan import StudyConfig
    from lit_pure.study.sets import Pictures
    from lit_pure.study.workers import Progress


def arguments(commands: "Subparsers[argparse.ArgumentParser]") -> None:
    """Add the command."""
    command = add(commands, "study", study_command)
    command.add_argument("name", metavar="NAME", help="of a plan, data/studies/NAME.yaml")
    command.add_argument(
        "--out", type=Path, default=Path("docs/studies"), help="for page and scores (default: docs/studies)"
    )
    command.add_argument(
        "--work", type=Path, default=Path("studies"), help="for what lies in between (default: studies)"
    )
    command.add_argument("--workers", type=_count, default=2, metavar="N", help="processes, a thread each (default: 2)")
    command.add_argument("--arms", type=comma_list, default=[], metavar="A,B", help="do only these")
    command.add_argument("--sets", type=comma_list, default=[], metavar="A,B", help="do only these")
    command.add_argument("--seeds", type=comma_list, default=[], metavar="0,1", help="do only these")
    command.add_argument("--limit", type=_count, default=0, metavar="N", help="only the first N pictures of each set")
    check = "do finished jobs again and compare, changing nothing; with --limit, the first N pictures of each"
    command.add_argument("--check", action="store_true", help=check)


def study_command(arguments: argparse.Namespace) -> int:
    """Do what a study asks and write its page.

    Runs that are not there are made first. A job is one arm on one set with one seed. Scores of finished jobs stay in
    OUT/scores and are not computed again while weights, settings and pictures are the same; an interrupted study goes
    on where it was. The page is written from all that is finished, and names what is not.
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
    asked = [job for job in every if _asked(arguments, job)]
    return _do_again(arguments, asked) if arguments.check else _do(arguments, plan, sets, every, asked)


def _make_runs(arguments: argparse.Namespace, plan: "StudyConfig") -> None:
    """Make the runs that arms lack. Raises ValueError where one fails, MissingRun for a version that is not there."""
    from lit_pure.commands.run import check_needs
    from lit_pure.config.compose import compose
    from lit_pure.launch.local import make_runs
    from lit_pure.launch.tasks import Task, missing_needs
    from lit_pure.runs import folder as runs
    from lit_pure.study.jobs import lacking

    wanted = {run for arm, run in lacking(plan).items() if not arguments.arms or arm in arguments.arms}
    for version in (run for run in wanted if runs.experiment_of(run) != run):
        runs.require(version)
    experiments = [compose(run) for run in sorted(wanted)]
    for experiment in experiments:
        check_needs(experiment)
    needs, waiting = missing_needs([Task(experiment) for experiment in experiments])
    _, failed = make_runs([*needs, *waiting], say)
    if failed:
        raise ValueError("; ".join(f"{run} could not be made ({why})" for run, why in failed.items()))


def _do(
    arguments: argparse.Namespace,
    plan: "StudyConfig",
    sets: "Mapping[str, Pictures]",
    every: "Sequence[Job]",
    asked: "Sequence[Job]",
) -> int:
    """Do the jobs that are asked for, and write the page of all."""
    from lit_pure.files.atomic import require_writable
    from lit_pure.study.page import write_page
    from lit_pure.study.workers import do_jobs, finished

    require_writable(arguments.out)
    todo = [job for job in asked if not finished(job, arguments.out, arguments.work)]
    say(f"{len(asked)} jobs, {len(asked) - len(todo)} of them done before")
    limited = f"lit-pure study {arguments.name} --limit {arguments.limit}"
    again = limited if arguments.limit else f"make study NAME={arguments.name}"
    try:
        with _bar(todo, 0) as (progress, tell):
            for job in do_jobs(todo, arguments.out, arguments.work, arguments.workers, progress):
                tell(f"done: {job.label}")
    finally:
        page = write_page(arguments.name, again, plan, every, sets, arguments.out, arguments.work)
    say(f"{page}: {arguments.name}")
    return 0


def _do_again(arguments: argparse.Namespace, asked: "Sequence[Job]") -> int:
    """Do finished jobs again, and tell how they came out."""
    from lit_pure.study import score_files
    from lit_pure.study.check import do_again

    jobs = [job for job in asked if score_files.read(job, arguments.out)]
    if not jobs:
        raise ValueError(f"{arguments.out} holds no finished job of these to compare with; leave out --check first")
    differ = 0
    with _bar(jobs, arguments.limit) as (progress, tell):
        for one in do_again(jobs, arguments.out, arguments.limit, arguments.workers, progress):
            apart = "; scores differ by up to " + ", ".join(f"{far:g} {key}" for key, far in one.apart.items())
            tell(f"{one.job.label}: {one.same} of {one.of} pictures are the same{apart if one.apart else ''}")
            differ += not one.agrees
    other = "; another kind of processor or another release of torch rounds otherwise" if differ else ""
    say(f"{len(jobs) - differ} of {len(jobs)} jobs came out as they are kept{other}")
    return 1 if differ else 0


@contextmanager
def _bar(jobs: "Sequence[Job]", most: int) -> "Iterator[tuple[Progress, Callable[[str], None]]]":
    """A bar over the first `most` pictures of jobs, and what prints a line beside it."""
    from tqdm import tqdm

    counts = [min(most or len(job.pictures.sources), len(job.pictures.sources)) for job in jobs]
    bar: tqdm[Any] = tqdm(total=sum(counts), unit=" pictures", file=sys.stderr, disable=None)

    def progress(job: "Job", done: int) -> None:
        bar.set_description(job.label, refresh=False)
        bar.update(sum(counts[: jobs.index(job)]) + done - bar.n)

    def tell(line: str) -> None:
        with bar.external_write_mode(file=sys.stdout):
            print(line, flush=True)

    with bar:
        yield progress, tell


def _asked(arguments: argparse.Namespace, job: "Job") -> bool:
    """Whether the flags leave a job in."""
    parts = ((arguments.arms, job.arm), (arguments.sets, job.pictures.name), (arguments.seeds, str(job.seed)))
    return all(not wanted or part in wanted for wanted, part in parts)


def _check(arguments: argparse.Namespace, plan: "StudyConfig") -> None:
    """Raises ConfigError where the plan lacks what is asked for, or a page would stand where another belongs."""
    known = {"--arms": list(plan.arms), "--sets": list(plan.sets), "--seeds": [str(seed) for seed in plan.seeds]}
    for flag, there in known.items():
        asked = getattr(arguments, flag.removeprefix("--"))
        if wrong := [one for one in asked if one not in there]:
            raise ConfigError(f"{COMMAND_LINE}: {flag} {wrong[0]}: {arguments.name} has {', '.join(there)}")
    if plan.layout:
        from lit_pure.report.layouts import layout

        layout(plan.layout)


def _count(word: str) -> int:
    if not word.isascii() or not word.isdigit() or int(word) < 1:
        raise argparse.ArgumentTypeError(f"{word!r} cannot be: give a whole number, 1 or more")
    return int(word)
