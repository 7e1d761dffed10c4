"""`check-data`: reads every picture of a folder completely. Knows flags and what is printed."""

import argparse
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lit_pure.commands.parsing import Subparsers, add, say
from lit_pure.commands.paths import require_writable_files
from lit_pure.config.compose import ConfigError
from lit_pure.files.atomic import write_json, write_whole
from lit_pure.files.processes import usable_cores

if TYPE_CHECKING:
    from lit_pure.datasets.curation.check import CheckReport, Finding

SHOWN = 5
"""Files of each kind to print without --all."""


def arguments(commands: "Subparsers[argparse.ArgumentParser]") -> None:
    """Add the command."""
    command = add(commands, "check-data", check_data_command)
    command.add_argument("folder", type=Path, help="pictures, also in sub-folders")
    command.add_argument("--lq", type=Path, metavar="FOLDER", help="low-quality partners with the same names")
    command.add_argument("--least", type=int, default=512, metavar="PX", help="least shorter side (default: 512)")
    command.add_argument("--write-list", type=Path, metavar="FILE", help="list the good pictures for data.*.meta_info")
    command.add_argument("--json", type=Path, metavar="FILE", help="write all findings to FILE")
    command.add_argument("--workers", type=int, metavar="N", help="reading processes (default: one per core)")
    command.add_argument("--all", action="store_true", help=f"print all files instead of {SHOWN} of each kind")


def check_data_command(arguments: argparse.Namespace) -> int:
    """Read every picture of a folder and report those that are damaged, too small, duplicate or unpaired."""
    workers = arguments.workers if arguments.workers is not None else usable_cores()
    _refuse(arguments, workers)
    from tqdm import tqdm

    from lit_pure.datasets.curation.check import check

    with tqdm(unit=" files", desc="reading", file=sys.stderr, disable=None) as bar:

        def progress(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        report = check(arguments.folder, arguments.lq, least=arguments.least, workers=workers, progress=progress)
    _show(report, None if arguments.all else SHOWN)
    if arguments.json:
        write_json(arguments.json, _content(report))
    if arguments.write_list:
        text = "".join(f"{line}\n" for line in report.list_lines())
        write_whole(arguments.write_list, text, errors="surrogateescape")  # keeps names that are not UTF-8
        say(f"{arguments.write_list}: {len(report.good)} pictures; train on them with")
        knobs = f"data.train.source={arguments.folder}", f"data.train.meta_info={arguments.write_list}"
        say(f"  {shlex.join(knobs)}")
    return 1 if report.problems else 0


def _refuse(arguments: argparse.Namespace, workers: int) -> None:
    """Raise ConfigError for mistakes that show before anything is read."""
    for flag, folder in (("FOLDER", arguments.folder), ("--lq", arguments.lq)):
        if folder is not None and not folder.is_dir():
            raise ConfigError(f"{flag} {folder}: no such folder; name one with pictures")
    for flag, number in (("--least", arguments.least), ("--workers", workers)):
        if number < 1:
            raise ConfigError(f"{flag} {number} is below 1; give 1 or more")
    require_writable_files({"--json": arguments.json, "--write-list": arguments.write_list})


def _show(report: "CheckReport", shown: int | None) -> None:
    """A table by kind, with the first files of each."""
    say(f"{report.folder}: {report.pictures} pictures read, {len(report.problems)} problems")
    for title, findings in (("", report.problems), ("warning: ", report.warnings)):
        for kind in dict.fromkeys(finding.kind for finding in findings):
            _show_kind(f"{title}{kind}", [finding for finding in findings if finding.kind == kind], shown)
    if report.others:
        names = [Path(name).name for name in report.others[:shown]]
        say(f"note: {len(report.others)} files do not have the extension of a picture and were not read")
        say(f"    {', '.join(names)}{', ...' if len(names) < len(report.others) else ''}")


def _show_kind(title: str, findings: "Sequence[Finding]", shown: int | None) -> None:
    say(f"{title}: {len(findings)}")
    for finding in findings[:shown]:
        say(f"    {finding.file}: {finding.reason}")
    if shown is not None and len(findings) > shown:
        say(f"    and {len(findings) - shown} more (--all prints them)")


def _content(report: "CheckReport") -> dict[str, Any]:
    return {
        "folder": str(report.folder),
        "pictures": report.pictures,
        "good": len(report.good),
        "problems": [vars(finding) for finding in report.problems],
        "warnings": [vars(finding) for finding in report.warnings],
        "not_pictures": report.others,
    }
