"""How a command joins the command line and prints a table. Knows argparse; knows nothing of what commands do."""

import argparse
from collections.abc import Callable, Sequence

Command = Callable[[argparse.Namespace], int]
"""Takes the parsed arguments, gives the exit code."""
Subparsers = argparse._SubParsersAction


def add(commands: "Subparsers[argparse.ArgumentParser]", name: str, function: Command) -> argparse.ArgumentParser:
    """A parser for `lit-pure NAME`, described by the docstring of its function."""
    words = (function.__doc__ or "").strip()
    command = commands.add_parser(name, help=words.splitlines()[0], description=words)
    command.set_defaults(function=function)
    return command


def print_table(rows: Sequence[tuple[str, ...]]) -> None:
    """Columns as wide as their widest cell."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
