"""`evaluate`: scores of the pictures in a folder, of any origin. Knows flags, and what is printed and written."""

import argparse
import ctypes
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lit_pure.commands.device import device
from lit_pure.commands.parsing import Subparsers, add, comma_list, print_table, say
from lit_pure.commands.paths import as_config_error, require_writable_files
from lit_pure.commands.processes import add_processes, over_processes
from lit_pure.config.compose import COMMAND_LINE, ConfigError
from lit_pure.files.atomic import write_json
from lit_pure.files.work import ForEach

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lit_pure.images.matching import Matches
    from lit_pure.metrics.choice import Choice
    from lit_pure.metrics.evaluation import Evaluation, EvaluationProblem
    from lit_pure.metrics.intervals import Interval, PairedDifference

HIGHEST_LEVEL = 0.999
"""Beyond this level, the resamples are too few."""
DIGITS = 4
"""Decimals, as many as published tables have at most."""
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
"""Options of glibc's malloc: free bytes before it returns memory, and size from which a block is a map of its own."""
_LARGE = 2**25
"""The highest size that glibc takes [bytes]."""
SHOWN = 10
"""Most pictures to name for each kind of problem."""
NONE = "-"
"""In a table, in place of an unknown figure."""


def arguments(commands: "Subparsers[argparse.ArgumentParser]") -> None:
    """Add the command."""
    command = add(commands, "evaluate", evaluate_command)
    folder: dict[str, Any] = {"type": Path, "metavar": "DIR"}
    command.add_argument("--pred", required=True, help="the pictures to score", **folder)
    command.add_argument("--target", help="the true pictures, with the same names and sizes", **folder)
    command.add_argument("--against", help="pictures of another method, compared with --pred one by one", **folder)
    command.add_argument(
        "--protocol",
        default="",
        metavar="NAME",
        help="measure as in a paper, by data/protocols/NAME.yaml: pure or osediff",
    )
    command.add_argument(
        "--metrics",
        type=comma_list,
        default=[],
        metavar="A,B",
        help="what to measure (default: the protocol's metrics, else psnr,ssim,niqe; without --target those that need "
        "no true pictures)",
    )
    command.add_argument(
        "--missing",
        choices=("refuse", "skip"),
        default="refuse",
        help="what to do about a metric whose weights are missing (default: refuse, before any work)",
    )
    command.add_argument("--level", type=_level, metavar="P", help="level of the intervals (default: 0.95)")
    command.add_argument(
        "--ignore-suffix",
        nargs="+",
        action="extend",
        default=[],
        metavar="TEXT",
        help="endings of names to ignore, for example _x4 _HR",
    )
    command.add_argument("--json", type=Path, metavar="FILE", help="also write all figures to FILE")
    command.add_argument("--csv", type=Path, metavar="FILE", help="also write the scores of all pictures to FILE")
    add_processes(command)


def evaluate_command(arguments: argparse.Namespace) -> int:
    """Score a folder of pictures: means with intervals and, with --against, differences between two methods.

    Pictures are matched by name without extension; sub-folders are ignored. A picture that is damaged, of another size
    or without partners is reported and left out of all figures; a picture that one metric cannot score lacks only that
    score; both make the exit code 1. Intervals are those of the studentized bootstrap, from 8 pictures on. Differences
    are over the pictures with both scores; p is that of the sign test.
    """
    return over_processes(arguments, _evaluate)


def _evaluate(arguments: argparse.Namespace, each: ForEach) -> int:
    choice, matches = _checked(arguments)
    from tqdm import tqdm

    from lit_pure.metrics.folder import evaluate_matches

    folders = arguments.pred, arguments.target, arguments.against
    _keep_freed_memory()
    bar: tqdm[Any] = tqdm(total=len(matches.found), unit=" pictures", desc="scoring", file=sys.stderr, disable=None)
    with bar:
        found = evaluate_matches(matches, choice, *folders, device=device(), progress=bar.update, each=each)
    found.level = arguments.level or found.level
    _show_means(found)
    if arguments.against:
        _show_differences(found)
    for reason in dict.fromkeys(choice.left_out.values()):
        labels = [choice.labels[key] for key, why in choice.left_out.items() if why == reason]
        say(f"not measured: {', '.join(labels)}: {reason}")
    if matches.maps:
        say(f"entropy maps of lit-pure restore, ignored: {matches.maps}")
    _show_problems(found.problems)
    _write(arguments, found)
    return 1 if found.problems else 0


def _checked(arguments: argparse.Namespace) -> "tuple[Choice, Matches]":
    """Metrics and pictures. Raises ConfigError for mistakes that show before a picture is read."""
    from lit_pure.images.matching import match
    from lit_pure.metrics.choice import choose

    require_writable_files({"--json": arguments.json, "--csv": arguments.csv})
    folders = [folder for folder in (arguments.pred, arguments.target, arguments.against) if folder is not None]
    if arguments.against and arguments.against.resolve() == arguments.pred.resolve():
        raise ConfigError(f"{COMMAND_LINE}: --against {arguments.against} is --pred itself; name another folder")
    with as_config_error():
        matches = match(folders, arguments.ignore_suffix)
    with_target = arguments.target is not None
    choice = choose(arguments.metrics, arguments.protocol, with_target=with_target, missing=arguments.missing)
    return choice, matches


def _keep_freed_memory() -> None:
    """Let glibc keep freed memory for reuse; elsewhere this does nothing.

    Every picture needs the same blocks again, and new ones are cleared by the system: of 512 x 512 px that takes a
    twelfth of the time. Blocks above `_LARGE` are returned: kept, they would stand beside each other at the peak.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt:
        for option, value in ((_TRIM_THRESHOLD, 2**31 - 1), (_MMAP_THRESHOLD, _LARGE)):
            mallopt(option, value)


def _show_means(found: "Evaluation") -> None:
    """A line per method and metric."""
    head = ["method", "metric", "mean", f"{100 * found.level:g} % interval", "n"]
    lines = [
        [method, _title(found, key), _number(one.mean), _span(one), str(one.n)]
        for method, means in found.means().items()
        for key, one in means.items()
    ]
    lines += [["", _title(found, key), NONE, NONE, NONE] for key in found.choice.left_out]
    print_table([head, *lines], figures=range(2, 5))


def _show_differences(found: "Evaluation") -> None:
    """A line per metric: which method is better, by how much, on how many pictures."""
    from lit_pure.metrics.table import METRICS

    mine, theirs = found.methods
    pairs = found.differences()
    lines = []
    for key in found.choice.metrics:
        if key not in pairs:  # one value per set
            mean, other = (found.of_sets[method].get(key, math.nan) for method in (mine, theirs))
            lines.append(
                [_title(found, key), _number(mean - other, "+"), *[NONE] * 3, "one value per set: no interval"]
            )
            continue
        one = pairs[key]
        better = _better(one, METRICS[key].higher_is_better, mine, theirs)
        counts = f"{one.wins} : {one.losses}" + (f" ({one.ties} equal)" if one.ties else "")
        span = _span(one.difference, "+")
        lines.append([_title(found, key), _number(one.difference.mean, "+"), span, counts, _p(one.p), better])
    say(f"\n{mine} minus {theirs}, picture by picture:")
    head = ["metric", "difference", f"{100 * found.level:g} % interval", "better : worse", "p (sign test)", ""]
    print_table([head, *lines], figures=range(1, 5))
    say("The last column follows from the interval of the mean. p counts only wins and losses, so it may disagree.")


def _show_problems(problems: "Sequence[EvaluationProblem]") -> None:
    """Problems by kind, with the names of the first files of each."""
    kinds: dict[tuple[str, str], list[EvaluationProblem]] = {}
    for problem in problems:
        reason = problem.message.removeprefix(f"{problem.file}: ")
        kinds.setdefault((f"no {problem.metric}" if problem.metric else "left out", reason), []).append(problem)
    for (what, reason), alike in kinds.items():
        for problem in alike[:SHOWN]:
            say(f"{what}: {problem.message}")
        if len(alike) > SHOWN:
            say(f"{what}: {len(alike) - SHOWN} more: {reason} (--json FILE names them all)")


def _better(one: "PairedDifference", up: bool, mine: str, theirs: str) -> str:
    """Which method is better, in words, if the interval excludes 0."""
    low, high = one.difference.low, one.difference.high
    if not one.difference.known:
        return "too few pictures, or no difference"
    if low <= 0 <= high:
        return "may be chance"
    return f"{mine if (low > 0) == up else theirs} is better"


def _write(arguments: argparse.Namespace, found: "Evaluation") -> None:
    """Write the requested files; each is complete or absent."""
    from lit_pure.metrics.rows import write_rows

    if arguments.csv:
        write_rows(arguments.csv, found.rows(), found.by_picture)
        say(f"written: {arguments.csv}")
    if arguments.json:
        write_json(arguments.json, {"command": ["lit-pure", *sys.argv[1:]], **found.record()})
        say(f"written: {arguments.json}")


def _title(found: "Evaluation", key: str) -> str:
    """Label, the key where it adds information, and the direction: MUSIQ (musiq-spaq) ↑."""
    from lit_pure.metrics.table import METRICS

    label = found.choice.labels[key]
    return f"{label}{'' if label.lower() == key else f' ({key})'} {'↑' if METRICS[key].higher_is_better else '↓'}"


def _number(value: float, sign: str = "") -> str:
    return NONE if math.isnan(value) else f"{value:{sign}.{DIGITS}f}"


def _span(one: "Interval", sign: str = "") -> str:
    return f"{_number(one.low, sign)} .. {_number(one.high, sign)}" if one.known else NONE


def _p(p: float) -> str:
    return f"{p:.3f}" if p >= 0.001 else f"{p:.0e}"


def _level(word: str) -> float:
    try:
        level = float(word)
    except ValueError:
        level = 0.0
    if not 0 < level <= HIGHEST_LEVEL:
        raise argparse.ArgumentTypeError(f"{word!r} is not allowed; give a number above 0, up to {HIGHEST_LEVEL}")
    return level
