"""What commands share: how one joins the command line, its kinds of arguments, and printing.

Knows argparse. Knows nothing of what commands do.
"""

import argparse
import inspect
import sys
import unicodedata
from collections.abc import Callable, Collection, Sequence

Command = Callable[[argparse.Namespace], int]
"""Takes the parsed arguments, gives the exit code."""
Subparsers = argparse._SubParsersAction


def add(commands: "Subparsers[argparse.ArgumentParser]", name: str, function: Command) -> argparse.ArgumentParser:
    """A parser for `lit-pure NAME`, described by the docstring of its function."""
    words = inspect.cleandoc(function.__doc__ or "")
    command = commands.add_parser(name, help=words.splitlines()[0], description=words)
    command.set_defaults(function=function)
    return command


def add_settings(command: argparse.ArgumentParser, words: str) -> None:
    """Add `--set KEY=VALUE ...`, which may be repeated; `words` is its help."""
    command.add_argument("--set", nargs="+", default=[], action="extend", metavar="KEY=VALUE", help=words)


def comma_list(text: str) -> list[str]:
    """The type of an argument: `a,b` is ["a", "b"]; an empty list is an error."""
    found = [word.strip() for word in text.split(",") if word.strip()]
    if not found:
        raise argparse.ArgumentTypeError(f"{text!r} names nothing; give one or more, separated by commas")
    return list(dict.fromkeys(found))


def whole_number(low: int, high: int | None = None) -> Callable[[str], int]:
    """The type of an argument: a whole number from `low` to `high`; None is no upper end."""
    expected = f"{low} or more" if high is None else f"from {low} to {high}"

    def parse(text: str) -> int:
        if not (text.isascii() and text.isdigit() and low <= int(text) <= (int(text) if high is None else high)):
            raise argparse.ArgumentTypeError(f"{text!r} is not allowed; give a whole number, {expected}")
        return int(text)

    return parse


def say(words: str) -> None:
    """Print; characters that the terminal lacks, or that are not UTF-8, become escapes instead of an error."""
    encoding = sys.stdout.encoding or "utf-8"
    print(words.encode(encoding, errors="backslashreplace").decode(encoding))


def print_table(rows: Sequence[Sequence[str]], figures: Collection[int] = ()) -> None:
    """Print columns as wide as their widest cell; those numbered in `figures` are aligned right, all others left.

    Names of files may hold ends of lines and commands to the terminal, which become escapes.
    """
    rows = [[_visible(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = [
            cell.rjust(width) if column in figures else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        say("  ".join(cells).rstrip())


def _visible(cell: str) -> str:
    return "".join(
        letter.encode("unicode_escape").decode() if unicodedata.category(letter) in ("Cc", "Zl", "Zp") else letter
        for letter in cell
    )
