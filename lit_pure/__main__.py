"""The command line: `lit-pure COMMAND`, or `python -m lit_pure COMMAND`.

Knows the list of commands (each is a file in `commands/`), how errors are told, and exit codes: 0 done, 1 something
failed, 2 a mistake in what was asked, 130 stopped by Ctrl-C, 143 by another signal, 141 nobody reads what is printed.
Torch is imported by the commands that need it, after everything that can be checked without it.
"""

import argparse
import logging
import os
import sys
import warnings
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module
from typing import NoReturn

from lit_pure import __version__
from lit_pure.commands import output
from lit_pure.commands.parsing import Command
from lit_pure.config.compose import ConfigError
from lit_pure.config.project import require_project
from lit_pure.files.sharing import shortage
from lit_pure.metrics.files import MissingWeights
from lit_pure.runs.folder import MissingRun
from lit_pure.runs.stop import INTERRUPTED, LOST_WORKER, RESUMES, Stopped, first_process, stop_at_once

COMMANDS = (
    "run",
    "config",
    "sweep",
    "study",
    "restore",
    "baseline",
    "reconstruct",
    "report",
    "app",
    "gallery",
    "votes",
    "vocabulary",
    "weights",
    "convert",
    "export",
    "bench",
    "check-data",
    "prepare",
    "caption",
    "degrade",
    "score",
    "evaluate",
    "plan",
)
"""In the order of the help; each is a file in `commands/`."""
TAB = """TAB completes commands, experiments, runs and knobs in a shell whose start file has the line:
eval "$(register-python-argcomplete lit-pure)" """


NUMBERS = {"int": "a whole number", "float": "a number without its unit"}
"""Types of arguments, which argparse names as Python does, in words."""


class OneLineParser(argparse.ArgumentParser):
    """Tells a mistake in one line, as everything else here does, without the usage above it."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong and where help is, exit 2."""
        for kind, wanted in NUMBERS.items():
            message = message.replace(f"invalid {kind} value:", f"{wanted} is wanted, not")
        self.exit(2, f"{self.prog}: {message} (see {self.prog} --help)\n")


def parser(argv: Sequence[str]) -> argparse.ArgumentParser:
    """The command that is asked for and its arguments; all of them where that is none of ours.

    Importing all takes longer than it takes to refuse a mistake.
    """
    first = argv[1:2] if argv[:1] == ["--traceback"] else argv[:1]
    asked = [word for word in first if word in COMMANDS]
    top = OneLineParser(prog="lit-pure", description="Autoregressive real-world image super-resolution.", epilog=TAB)
    top.add_argument("--version", action="version", version=f"lit-pure {__version__}")
    top.add_argument("--traceback", action="store_true", help="show where in the code an error came from")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name in asked or (() if first == ["--version"] else COMMANDS):
        import_module(f"lit_pure.commands.{name.replace('-', '_')}").arguments(commands)
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; mistakes are told in a line or two on standard error, without a traceback."""
    argv = sys.argv[1:] if argv is None else argv
    if "_ARGCOMPLETE" in os.environ:  # a shell asks what TAB completes
        _complete()
    output.prepare()
    asked = parser(argv)
    if list(argv).count("--") > 1:  # argparse takes the second one for a value, of another type
        asked.error("-- may be written once; what follows it is no option")
    arguments, unknown = asked.parse_known_args(argv)
    if unknown:  # said by the command, whose help has what may be given
        OneLineParser(prog=f"lit-pure {arguments.command}").error(f"unrecognized arguments: {' '.join(unknown)}")
    _quiet_logs()
    command: Command = arguments.function
    try:
        require_project()
        with stop_at_once():
            status = command(arguments)
            output.is_unread()  # else Python complains of the pipe as it ends
            return status
    except Stopped as stopped:
        if stopped.message:
            print(stopped.message, file=sys.stderr)
        return stopped.status
    except (ConfigError, MissingRun, MissingWeights) as error:
        print(error, file=sys.stderr)
        return 2
    except (ValueError, OSError, ImportError) as error:
        if isinstance(error, BrokenPipeError) and output.is_unread():
            return output.UNREAD
        if arguments.traceback:
            raise
        print(f"error: {_told(error)}", file=sys.stderr)
        return 1
    except RuntimeError as error:
        lost = str(error).splitlines()[0].strip(" .") if str(error).startswith(LOST_WORKER) else shortage(error)
        if arguments.traceback or not lost:
            raise
        print(f"error: {lost}; {RESUMES}", file=sys.stderr)
        return 1
    except (KeyboardInterrupt, SystemExit):  # Lightning turns the first into the second
        if first_process():
            print("stopped; what was finished stays, and nothing is built on an unfinished run", file=sys.stderr)
        return INTERRUPTED


def _complete() -> None:
    """Answer the shell and exit; without argcomplete, nothing is completed."""
    with suppress(ImportError):
        from lit_pure.commands.completion import answer

        answer(parser)


def _told(error: Exception) -> str:
    """The error in words; of the system's, the file comes first and its number is left out."""
    if isinstance(error, OSError) and error.filename:
        return f"{error.filename}: {error.strerror}"
    return str(error)


def _quiet_logs() -> None:
    """Ours at INFO; of others only what needs attention."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    # Of several processes the first one tells; who is not the first says what needs attention.
    logging.getLogger("lit_pure").setLevel(logging.INFO if first_process() else logging.WARNING)
    logging.getLogger("torch.utils._pytree").setLevel(logging.ERROR)  # what torchao registers there is its own business
    for known in ("many workers", "Experiment logs directory .* exists", "isinstance.treespec, LeafSpec"):
        warnings.filterwarnings("ignore", message=f".*{known}")


if __name__ == "__main__":
    sys.exit(main())
