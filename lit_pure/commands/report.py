"""`report`: tables of finished runs. Imports no torch at all."""

import argparse

from lit_pure import runs
from lit_pure.commands.parsing import Subparsers, add


def arguments(commands: "Subparsers[argparse.ArgumentParser]") -> None:
    """Add the command."""
    command = add(commands, "report", report_command)
    command.add_argument("runs", nargs="*", metavar="RUN", help="for example demo or demo/version_0 (default: all)")


def report_command(arguments: argparse.Namespace) -> int:
    """Print the table of finished runs."""
    from lit_pure.report import overview, text

    chosen = [runs.require(name) for name in arguments.runs] or runs.finished()
    if not chosen:
        print(f"no finished runs below {runs.ROOT}/; make one with: make exp NAME=demo")
        return 0
    print(text(overview(chosen)))
    return 0
