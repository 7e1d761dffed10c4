"""`baseline`: photographs enlarged by methods that others published. Knows flags and what is printed."""

import argparse
from pathlib import Path
from typing import Any

from lit_pure.baselines.table import BASELINES, INSTALL
from lit_pure.commands.parsing import Subparsers, add, print_table, say, whole_number
from lit_pure.commands.restore import LARGEST_SCALE, add_max_size, find_planned, restore_all


class _List(argparse.Action):
    """Prints the table of baselines and ends, as --help does."""

    def __call__(self, parser: argparse.ArgumentParser, *given: Any) -> None:
        """Print and exit."""
        rows = [
            [one.name, "any" if one.weights is None else f"x{one.scale}", one.licence, _origin(one.packages), one.what]
            for one in BASELINES.values()
        ]
        print_table([["name", "scale", "licence", "weights from", "what"], *rows])
        absent = [one.name for one in BASELINES.values() if one.missing]
        say(f"not installed here: {', '.join(absent)}; {INSTALL}" if absent else "all are installed here")
        parser.exit()


def arguments(commands: "Subparsers[argparse.ArgumentParser]") -> None:
    """Add the command."""
    command = add(commands, "baseline", baseline_command)
    command.add_argument("name", choices=BASELINES, metavar="NAME", help=f"one of {', '.join(BASELINES)}")
    command.add_argument("photos", nargs="+", type=Path, metavar="PHOTO", help="files or folders")
    command.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to write to")
    command.add_argument(
        "--scale",
        type=whole_number(1, LARGEST_SCALE),
        metavar="N",
        help=f"enlarge each side N times, 1 to {LARGEST_SCALE} (default: 4, and networks can do no other)",
    )
    command.add_argument(
        "--threads", type=whole_number(1), metavar="N", help="of a network (default: the cores that torch would use)"
    )
    add_max_size(command)
    command.add_argument("--again", action="store_true", help="also enlarge photographs that are already enlarged")
    command.add_argument("--list", action=_List, nargs=0, help="show what there is, its licence and source, and exit")


def baseline_command(arguments: argparse.Namespace) -> int:
    """Enlarge photographs by a method of others, on the CPU, to stand beside ours.

    What is enlarged already is skipped, and a bad file is reported, as in `restore`. The pictures are named like the
    photographs, so `evaluate`, and `gallery --folder`, take the folder as it is.
    """
    baseline = BASELINES[arguments.name]
    baseline.require()
    if arguments.scale is not None:
        baseline.check_scale(arguments.scale)
    paths = find_planned(arguments)
    from lit_pure.baselines.enlarge import Enlarger
    from lit_pure.files.atomic import require_writable

    require_writable(arguments.out)
    enlarger = Enlarger(baseline, arguments.threads)
    options = {"scale": arguments.scale, "again": arguments.again, "max_size": arguments.max_size}
    return restore_all(enlarger, paths, arguments.out, "parts", **options)


def _origin(packages: tuple[str, ...]) -> str:
    """The package that has the weights, the last one."""
    return packages[-1] if packages else "-"
