"""`sweep`: runs every variant of an experiment, on this machine or as a SLURM job array, and compares them.

Knows flags and what is printed. Knows nothing of which runs are needed and how they are launched (`launch`), nor of
searches (`trials.py`).
"""

import argparse
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence

from lit_pure.commands.parsing import Subparsers, add, say, whole_number
from lit_pure.commands.run import check_needs
from lit_pure.commands.trials import begin_elsewhere, search_here
from lit_pure.config.compose import COMMAND_LINE, ConfigError, compose, is_search
from lit_pure.launch import slurm
from lit_pure.launch.local import make_runs
from lit_pure.launch.tasks import Task, find_finished, members, missing_needs
from lit_pure.runs.folder import Run

HERE, SLURM = "here", "slurm"


def arguments(commands: "Subparsers[argparse.ArgumentParser]") -> None:
    """Add the command."""
    command = add(commands, "sweep", sweep_command)
    names = "below experiments/: a file with `sweep:` or `search:`, or a folder; for example sweeps/sampling"
    command.add_argument("experiment", help=names)
    settings = "settings for every variant, before the options; for example trainer.max_steps=20"
    command.add_argument("overrides", nargs="*", default=[], metavar="KEY=VALUE", help=settings)
    launchers = "one after another on this machine, or as a SLURM job array (default: %(default)s)"
    command.add_argument("--launcher", choices=(HERE, SLURM), default=HERE, help=launchers)
    command.add_argument("--dry-run", action="store_true", help="only print what would be run or submitted")
    command.add_argument(
        "--again", action="store_true", help="also run variants that are finished with the same settings"
    )
    asked = command.add_argument_group("for SLURM", "the cluster decides about options that are left out")
    asked.add_argument("--partition", metavar="NAME", type=_matching(r"\S+", "gpu"), help="partition to submit to")
    asked.add_argument("--account", metavar="NAME", type=_matching(r"\S+", "lab"), help="account to charge")
    time = "time limit of a job; a run saves before it ends, and resumes in a new job"
    asked.add_argument("--time", type=_matching(slurm.TIME, "90, 12:00:00 or 2-00"), help=time)
    asked.add_argument("--nodes", metavar="N", type=whole_number(1), help="default: trainer.num_nodes")
    asked.add_argument(
        "--gpus-per-node", metavar="N", type=whole_number(1), help="default: trainer.devices, or 1 for auto"
    )
    asked.add_argument(
        "--cpus-per-task", metavar="N", type=whole_number(1), help="for each GPU; default: data.num_workers + 1"
    )
    asked.add_argument("--mem", metavar="SIZE", type=_matching(slurm.MEMORY, "64G"), help="memory of a node")
    asked.add_argument(
        "--parallel",
        metavar="N",
        type=whole_number(1),
        help="variants that run at the same time (default: all); for a search its workers (default: 1)",
    )
    other = "another option of sbatch, such as qos=high, or exclusive; may be repeated"
    asked.add_argument("--slurm", metavar="KEY=VALUE", type=_option, action="append", default=[], help=other)


def sweep_command(arguments: argparse.Namespace) -> int:
    """Run every variant of a sweep, or the trials of a search, and compare them.

    Variants that are finished with the same settings are not run again; stopped ones are resumed.
    """
    request = _request(arguments)
    name, overrides = arguments.experiment.removesuffix(".yaml").rstrip("/"), tuple(arguments.overrides)
    if is_search(name):
        return _search(compose(name).name, overrides, request, arguments)
    tasks = [Task(compose(member, overrides), overrides) for member in members(name)]
    for task in tasks:
        check_needs(task.experiment)
    standing = {} if arguments.again else {task.name: run for task in tasks if (run := find_finished(task.experiment))}
    for run in standing.values():
        # The output of a dry run can be given to sbatch, or to a shell.
        say(f"{'# ' * arguments.dry_run}using {run.label}, finished with these settings; --again runs it again")
    needs, waiting = missing_needs([task for task in tasks if task.name not in standing])
    if request is not None and waiting:
        jobs = slurm.jobs(name, needs, waiting, request)
        return _print(slurm.dry_run(jobs, slurm.folder_of(name))) if arguments.dry_run else _submit(name, jobs)
    if arguments.dry_run:
        return _print(task.shown for task in (*needs, *waiting))
    return _run([*needs, *waiting], [task.name for task in tasks], standing)


def _search(name: str, overrides: tuple[str, ...], request: slurm.Request | None, arguments: argparse.Namespace) -> int:
    """Make the trials of a search here, or submit workers that make them."""
    if arguments.again:
        raise ConfigError(f"{COMMAND_LINE}: --again is for a sweep:; to search anew, move runs/{name} away")
    if request is None:
        return search_here(name, overrides, arguments.dry_run)
    count = request.parallel or 1
    needs, worker = begin_elsewhere(name, overrides, count, arguments.dry_run)
    jobs = slurm.workers(name, needs, worker, count, request)
    return _print(slurm.dry_run(jobs, slurm.folder_of(name))) if arguments.dry_run else _submit(name, jobs)


def _run(waiting: Sequence[Task], variants: Sequence[str], standing: Mapping[str, Run]) -> int:
    """Make the waiting runs, then compare the variants."""
    new, failed = make_runs(waiting, say)
    made = {**standing, **new}
    _compare([made[name] for name in variants if name in made])
    for name, reason in failed.items():
        print(f"failed: {name} ({reason})", file=sys.stderr)
    return 1 if failed else 0


def _compare(made: Sequence[Run]) -> None:
    from lit_pure.commands.report import overview_text

    if made:
        say(f"\n{overview_text(made)}".rstrip())


def _submit(name: str, jobs: Sequence[slurm.Job]) -> int:
    """Submit the jobs of a sweep, and print where they are."""
    ids: dict[str, str] = {}
    folder = slurm.folder_of(name)
    for job in jobs:
        try:
            ids[job.name] = slurm.submit(job, folder, ids)
        except ValueError as error:
            back = f"; cancel what was submitted before: scancel {' '.join(ids.values())}" if ids else ""
            raise ValueError(f"{error}{back}") from error
        waits = f", after {' and '.join(ids[need] for need in job.needs)}" if job.needs else ""
        say(f"job {ids[job.name]}: {job.name}{waits}")
        for number, task in enumerate(job.tasks):
            say(f"  task {number}: {task.shown}")
    say(f"logs:    {folder}")
    say("look:    squeue --me")
    say(f"compare: lit-pure sweep {name}    (once they are done; it runs what is missing)")
    return 0


def _print(lines: Iterable[str]) -> int:
    for line in lines:
        say(line)
    return 0


def _request(arguments: argparse.Namespace) -> slurm.Request | None:
    """The request to SLURM; None for a local sweep. Raises ConfigError for flags that do not fit together."""
    given = {key: getattr(arguments, key) for key in ("partition", "account", "time", "mem") if getattr(arguments, key)}
    sizes = {key: getattr(arguments, key) for key in ("nodes", "gpus_per_node", "cpus_per_task", "parallel")}
    if arguments.launcher == SLURM:
        slurm.require_tools(arguments.dry_run)
        return slurm.Request(**sizes, options={**given, **dict(arguments.slurm)})
    asked = [key for key, value in {**given, **sizes, "slurm": arguments.slurm}.items() if value]
    if asked:
        flag = f"--{asked[0].replace('_', '-')}"
        raise ConfigError(f"{COMMAND_LINE}: {flag} is for --launcher slurm; add that, or leave {flag} out")
    return None


def _matching(pattern: str | re.Pattern[str], example: str) -> Callable[[str], str]:
    def matching(text: str) -> str:
        if not re.fullmatch(pattern, text):
            raise argparse.ArgumentTypeError(f"{text!r} is not allowed; give for example {example}")
        return text

    return matching


def _option(text: str) -> tuple[str, str | bool]:
    try:
        return slurm.option(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
