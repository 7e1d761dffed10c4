"""`report`: tables of finished runs, alone or beside published figures. Knows flags; imports no torch."""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from lit_pure.commands.parsing import Subparsers, add
from lit_pure.commands.paths import require_writable_files
from lit_pure.commands.trials import has_trials, trials_of
from lit_pure.config.compose import ConfigError
from lit_pure.config.project import command_to_run
from lit_pure.report.render import FORMATS, Format, notes, render
from lit_pure.runs import folder as runs
from lit_pure.runs.folder import Run

LIST = "list"
"""In place of a layout's name: list all layouts."""


def arguments(commands: "Subparsers[argparse.ArgumentParser]") -> None:
    """Add the command."""
    command = add(commands, "report", report_command)
    command.add_argument(
        "runs", nargs="*", default=[], metavar="RUN", help="such as demo, demo/version_0, a search (default: all)"
    )
    command.add_argument(
        "--layout",
        metavar="NAME",
        help="show runs beside published figures, in the paper's layout: table1 to table6 and figure5 of PURE, "
        "nsarm-results, nsarm-robustness, nsarm-time; list describes them. Without RUN, shows the newest finished runs "
        "of the experiments that belong there",
    )
    command.add_argument(
        "--format", choices=FORMATS, default="terminal", help="format of the table (default: terminal)"
    )
    command.add_argument("--test-set", metavar="NAME", default="", help="only this test set")
    command.add_argument(
        "--intervals", action="store_true", help="with --layout: also show 95 %% intervals of our figures"
    )
    command.add_argument("--out", type=Path, metavar="FILE", help="write the table to FILE instead of showing it")


def report_command(arguments: argparse.Namespace) -> int:
    """Compare finished runs: how each was trained, and how it does on test sets.

    A row per run has figures with 95 % intervals over pictures and what differs between the runs' settings, beside
    baselines that a run measured; below it stands the difference to the first run, picture by picture. Of a search,
    all trials are shown, and the runs of the best ones compared. With --layout, runs stand in a paper's layout beside
    its figures. CSV has one row per run, for other programs.
    """
    _check(arguments)
    if arguments.layout == LIST:
        return _list()
    from lit_pure.report.layouts import layout

    wanted = layout(arguments.layout) if arguments.layout else None
    searches = {name: trials_of(name) for name in arguments.runs if has_trials(name)}
    chosen = [
        run for name in arguments.runs for run in (searches[name][1] if name in searches else [runs.require(name)])
    ]
    if arguments.out is not None:
        read = [file for run in chosen or runs.finished() for file in run.folder.iterdir()]
        require_writable_files({"--out": arguments.out}, read)
    if wanted is None:
        if arguments.out is None and arguments.format == "terminal":
            for text, _ in searches.values():
                print(text)
        return _overview(arguments, chosen if searches else chosen or runs.finished())
    from lit_pure.report.assemble import assemble

    table = assemble(wanted, chosen, only=arguments.test_set, intervals=arguments.intervals)
    if arguments.format == "csv":  # which cannot contain notes
        for note in notes(table, marked=False):
            print(note, file=sys.stderr)
    _show(arguments.out, render(table, arguments.format, ansi=arguments.out is None and _marks()))
    return 0


def _check(arguments: argparse.Namespace) -> None:
    """Raise ConfigError for flags that do not fit together."""
    if arguments.intervals and not arguments.layout:
        raise ConfigError(
            "--intervals belongs to --layout, for without one they are shown; "
            f"leave it out, or name a layout (--layout {LIST})"
        )
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
        print(f"no finished runs below {runs.ROOT}/; make one with: {command_to_run('demo')}")
        return 0
    from lit_pure.report.overview import readable_runs

    kept, wrong = readable_runs(chosen)
    if kept:
        _show(arguments.out, overview_text(kept, arguments.test_set, arguments.format, ansi=arguments.out is None))
    for problem in wrong:
        print(f"error: {problem}", file=sys.stderr)
    return 1 if wrong else 0


def overview_text(chosen: Sequence[Run], test_set: str = "", form: Format = "terminal", *, ansi: bool = True) -> str:
    """How runs were trained, and how they did on test sets; as CSV one row per run, for other programs."""
    from lit_pure.report.ablation import ablation_table
    from lit_pure.report.overview import overview, to_table, trained

    if form == "csv":
        return render(to_table(overview(chosen)), form)
    tables = [] if test_set else [trained(chosen)]
    if test_set or any(key.startswith("test/") for run in chosen for key in run.summary()):
        tables.append(ablation_table(chosen, test_set))
    return "\n".join(render(table, form, ansi=ansi and _marks()) for table in tables)


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
