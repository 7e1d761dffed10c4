"""`study`: arms, sets and seeds of a plan, scored and written up. Knows flags and what is printed."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lit_pure.commands.parsing import Subparsers, add, comma_list
from lit_pure.config.compose import COMMAND_LINE, ConfigError

if TYPE_CHECKING:
    from lit_pure.study.jobs import Job
    from lit_pure.study.plan import StudyConfig


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


def study_command(arguments: argparse.Namespace) -> int:
    """Do what a study asks and write its page.

    A job is one arm on one set with one seed. Scores of finished jobs stay in OUT/scores and are not computed again
    while weights, settings and pictures are the same; an interrupted study goes on where it was. The page is written
    from all that is finished, and names what is not.
    """
    from lit_pure.study.plan import plan_of

    plan = plan_of(arguments.name)
    _check(arguments, plan)
    from tqdm import tqdm

    from lit_pure.restore_folder import require_writable
    from lit_pure.study.jobs import jobs_of
    from lit_pure.study.page import write_page
    from lit_pure.study.sets import pictures_of
    from lit_pure.study.work import do_jobs, finished

    sets = {name: pictures_of(name, config, arguments.limit) for name, config in plan.sets.items()}
    every = list(jobs_of(plan, sets))
    jobs = [job for job in every if _asked(arguments, job)]
    require_writable(arguments.out)
    todo = [job for job in jobs if not finished(job, arguments.out, arguments.work)]
    print(f"{len(jobs)} jobs, {len(jobs) - len(todo)} of them done before")
    bar: tqdm[Any] = tqdm(
        total=sum(len(job.pictures.sources) for job in todo), unit=" pictures", file=sys.stderr, disable=None
    )

    def progress(job: "Job", done: int, of: int) -> None:
        before = sum(len(one.pictures.sources) for one in todo[: todo.index(job)])
        bar.set_description(job.label, refresh=False)
        bar.update(before + done - bar.n)
        if done == of:
            with bar.external_write_mode(file=sys.stdout):
                print(f"done: {job.label}", flush=True)

    limited = f"lit-pure study {arguments.name} --limit {arguments.limit}"
    again = limited if arguments.limit else f"make study NAME={arguments.name}"
    try:
        with bar:
            do_jobs(todo, arguments.out, arguments.work, arguments.workers, progress)
    finally:
        page = write_page(arguments.name, again, plan, every, sets, arguments.out, arguments.work)
    print(f"{page}: {arguments.name}")
    return 0


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
