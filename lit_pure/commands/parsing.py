"""How a command joins the command line, takes a list, and prints. Knows argparse; knows nothing of what commands do."""

import argparse
import sys
from collections.abc import Callable, Collection, Sequence

Command = Callable[[argparse.Namespace], int]
"""Takes the parsed arguments, gives the exit code."""
Subparsers = argparse._SubParsersAction


def add(commands: "Subparsers[argparse.ArgumentParser]", name: str, function: Command) -> argparse.ArgumentParser:
    """A parser for `lit-pure NAME`, described by the docstring of its function."""
    words = (function.__doc__ or "").strip()
    command = commands.add_parser(name, help=words.splitlines()[0], description=words)
    command.set_defaults(function=function)
    return command


def comma_list(text: str) -> list[str]:
    """`a,b` is ["a", "b"]; the type of an argument, which must name something."""
    found = [word.strip() for word in text.split(",") if word.strip()]
    if not found:
        raise argparse.ArgumentTypeError(f"{text!r} names nothing; write one or more, with commas between")
    return list(dict.fromkeys(found))


def say(words: str) -> None:
    """Print, with escapes for what the terminal lacks or what is no UTF-8: nothing is lost by an arrow or a name."""
    encoding = sys.stdout.encoding or "utf-8"
    print(words.encode(encoding, errors="backslashreplace").decode(encoding))


def print_table(rows: Sequence[Sequence[str]], figures: Collection[int] = ()) -> None:
    """Columns as wide as their widest cell; those numbered in `figures` stand to the right, the others to the left."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = [
            cell.rjust(width) if column in figures else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        say("  ".join(cells).rstrip())
