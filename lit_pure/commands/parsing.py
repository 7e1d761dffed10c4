"""How a command joins the command line. Knows argparse; knows nothing of what commands do."""

import argparse
from collections.abc import Callable

Command = Callable[[argparse.Namespace], int]
"""Takes the parsed arguments, gives the exit code."""
Subparsers = argparse._SubParsersAction


def add(commands: "Subparsers[argparse.ArgumentParser]", name: str, function: Command) -> argparse.ArgumentParser:
    """A parser for `lit-pure NAME`, described by the docstring of its function."""
    words = (function.__doc__ or "").strip()
    command = commands.add_parser(name, help=words.splitlines()[0], description=words)
    command.set_defaults(function=function)
    return command
