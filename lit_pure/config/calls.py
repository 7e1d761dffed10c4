"""A class and its arguments, written as the call that makes an object: package.module.Class(argument=value).

Knows the words and nothing behind them: no module is imported (`lit/own_callbacks.py` does that). Arguments are plain
values.
"""

import ast
from dataclasses import dataclass
from typing import Any

EXAMPLE = 'lightning.pytorch.callbacks.EarlyStopping(monitor="val/loss", patience=3)'


@dataclass(frozen=True)
class Call:
    """One call, not made yet."""

    module: str
    """Dotted name of the module."""
    name: str
    """The class in it."""
    arguments: dict[str, Any]

    @property
    def dotted(self) -> str:
        """Module and class."""
        return f"{self.module}.{self.name}"


def parse_call(words: str) -> Call:
    """A call with keyword arguments that are plain values; a class alone is a call without arguments.

    Raises ValueError for anything else, with an example.
    """
    try:
        tree = ast.parse(words.strip(), mode="eval").body
        call = tree if isinstance(tree, ast.Call) else ast.Call(tree, [], [])
        module, _, name = _dotted(call.func).rpartition(".")
        if not module:
            raise ValueError("the class has no module before it")
        if call.args or any(item.arg is None for item in call.keywords):
            raise ValueError("name each argument")
        arguments = {str(item.arg): ast.literal_eval(item.value) for item in call.keywords}
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        reason = error.msg if isinstance(error, SyntaxError) else str(error).partition(" on line")[0]
        raise ValueError(f"{words!r} ({reason}); write a call with plain values, for example {EXAMPLE}") from None
    return Call(module, name, arguments)


def _dotted(node: ast.expr) -> str:
    match node:
        case ast.Name(id=name):
            return name
        case ast.Attribute(value=inner, attr=name):
            return f"{_dotted(inner)}.{name}"
    raise ValueError("it names no class")
