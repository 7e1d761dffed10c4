"""`report`: tables of finished runs, alone or beside published figures. Knows flags; imports no torch."""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from lit_pure.commands.parsing import Subparsers, add
from lit_pure.commands.paths import require_writable_files
from lit_pure.config.compose import ConfigError
from lit_pure.report.render import FORMATS, notes, render
from lit_pure.runs import folder as runs
from lit_pure.runs.folder import Run

LIST = "list"
"""In place of a layout's name: list all layouts."""


def arguments(commands: "Subparsers[argparse.ArgumentParser]") -> None:
    """Add the command."""
    command = add(commands, "report", report_command)
    command.add_argument("runs", nargs="*", metavar="RUN", help="for example demo or demo/version_0 (default: all)")
    command.add_argument(
        "--layout",
        metavar="NAME",
        help="show runs beside published figures, in the paper's layout: table1 to table6 and figure5 of PURE, "
        "nsarm-results, nsarm-robustness, nsarm-time; list describes them. Without RUN, shows the newest finished runs "
        "of the experiments that belong there",
    )
    command.add_argument(
        "--methods",
        action="store_true",
        help="a row per method on each test set, baselines included: means with 95 %% intervals over pictures, and "
        "seconds where `lit-pure bench restore` measured them",
    )
    command.add_argument(
        "--format", choices=FORMATS, default="terminal", help="format of the table (default: terminal)"
    )
    command.add_argument(
        "--test-set", metavar="NAME", default="", help="with --layout or --methods: only this test set"
    )
    command.add_argument(
        "--intervals", action="store_true", help="with --layout: also show 95 %% intervals of our figures"
    )
    command.add_argument("--out", type=Path, metavar="FILE", help="write the table to FILE instead of showing it")


def report_command(arguments: argparse.Namespace) -> int:
    """Compare finished runs in a table; with --layout in a paper's layout, beside its figures."""
    _check(arguments)
    if arguments.layout == LIST:
        return _list()
    from lit_pure.report.layouts import layout

    wanted = layout(arguments.layout) if arguments.layout else None
    chosen = [runs.require(name) for name in arguments.runs]
    if arguments.out is not None:
        read = [file for run in chosen or runs.finished() for file in run.folder.iterdir()]
        require_writable_files({"--out": arguments.out}, read)
    if arguments.methods:
        from lit_pure.report.methods import methods_table

        table = methods_table(chosen or runs.finished(), arguments.test_set)
        _show(arguments.out, render(table, arguments.format, ansi=arguments.out is None and _marks()))
        return 0
    if wanted is None:
        return _overview(arguments, chosen or runs.finished())
    from lit_pure.report.assemble import assemble

    table = assemble(wanted, chosen, only=arguments.test_set, intervals=arguments.intervals)
    if arguments.format == "csv":  # which cannot contain notes
        for note in notes(table, marked=False):
            print(note, file=sys.stderr)
    _show(arguments.out, render(table, arguments.format, ansi=arguments.out is None and _marks()))
    return 0


def _check(arguments: argparse.Namespace) -> None:
    """Raise ConfigError for flags that do not fit together."""
    if arguments.methods and (arguments.layout or arguments.intervals):
        raise ConfigError("--methods has a layout of its own, with intervals; leave --layout and --intervals out")
    if not (arguments.layout or arguments.methods) and (arguments.test_set or arguments.intervals):
        flag = "--test-set" if arguments.test_set else "--intervals"
        raise ConfigError(f"{flag} belongs to --layout; name a layout, or list them with --layout {LIST}")
    require_writable_files({"--out": arguments.out})


def _list() -> int:
    from lit_pure.report.layouts import LAYOUTS
    from lit_pure.report.published import load

    for name, layout in LAYOUTS.items():
        paper = load(layout.paper)
        table = paper.table(layout.table)
        print(f"{name:<{max(map(len, LAYOUTS))}}  {paper.name}, {table.place}: {table.title}")
    return 0


def _overview(arguments: argparse.Namespace, chosen: Sequence[Run]) -> int:
    if not chosen:
        print(f"no finished runs below {runs.ROOT}/; make one with: make exp NAME=demo")
        return 0
    from lit_pure.report.overview import overview, readable_runs, text, to_table

    kept, wrong = readable_runs(chosen)
    if kept:
        frame = overview(kept)
        shown = f"{text(frame)}\n" if arguments.format == "terminal" else render(to_table(frame), arguments.format)
        _show(arguments.out, shown)
    for problem in wrong:
        print(f"error: {problem}", file=sys.stderr)
    return 1 if wrong else 0


def _show(out: Path | None, text: str) -> None:
    if out is None:
        print(text, end="")
        return
    from lit_pure.files.atomic import write_whole

    write_whole(out, text)
    print(f"written: {out}")


def _marks() -> bool:
    """Whether bold and underlined text can be shown: not in a file or a pipe."""
    return sys.stdout.isatty() and os.environ.get("TERM") != "dumb"
