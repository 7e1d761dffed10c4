"""Reads text files of ours and of others: whatever is wrong with one becomes a single line with the remedy.

Knows UTF-8 and JSON, and every way in which reading them fails. Knows nothing of what the files mean; YAML has a file
of its own (`yaml12.py`).
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

SHOWN = 80
"""Longest value in a message [characters]."""
KINDS = {dict: "keys and values", list: "a list", str: "text", int: "a whole number", float: "a number"}
"""Names of types in messages."""
BROKEN = (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError, OverflowError, RecursionError)
"""All that a file which is not what it should be makes of reading it and taking it apart."""


class Damaged(ValueError):
    """A file that is not what it should be; the message has path and remedy."""


@contextmanager
def refusing(path: Path, remedy: str) -> Iterator[None]:
    """Turn what goes wrong while a file is read and taken apart into one line: Damaged with path and remedy.

    A missing key, a value of another type and nesting without end count as well: all of them say that the file is not
    what it should be. Nothing else should happen inside.
    """
    try:
        yield
    except Damaged:
        raise
    except OSError as error:
        raise Damaged(f"{path} cannot be read ({error.strerror or error}); {remedy}") from error
    except KeyError as error:
        raise Damaged(f"{path} cannot be read (no {shown(error.args[0])} in it); {remedy}") from error
    except RecursionError as error:
        raise Damaged(f"{path} cannot be read (nested too deeply); {remedy}") from error
    except (ValueError, TypeError, AttributeError, IndexError, OverflowError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise Damaged(f"{path} cannot be read ({reason}); {remedy}") from error


def read_text(path: Path, remedy: str) -> str:
    """The text of a UTF-8 file. Raises Damaged naming file and remedy."""
    with refusing(path, remedy):
        return path.read_text(encoding="utf-8")


def read_json(path: Path, remedy: str) -> dict[str, Any]:
    """The keys and values of a JSON file. Raises Damaged naming file and remedy."""
    with refusing(path, remedy):
        return parsed_object(path.read_text(encoding="utf-8"))


def parsed_object(text: str) -> dict[str, Any]:
    """Keys and values from a line or a file of JSON. Raises ValueError, or RecursionError where it is nested deeply."""
    return of_kind(json.loads(text), dict)


def of_kind(value: Any, *kinds: type) -> Any:
    """The value itself where it has one of the types; a bool is no number. Raises ValueError with what was found."""
    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
        expected = " or ".join(KINDS.get(kind, kind.__name__) for kind in kinds)
        raise ValueError(f"{expected} expected, found {shown(value)}")
    return value


def shown(value: Any) -> str:
    """A value for a message, in one line and not too long."""
    try:
        words = repr(value)
    except (RecursionError, ValueError):  # nested deeply; a number of thousands of digits
        words = f"a {type(value).__name__}"
    return words if len(words) <= SHOWN else f"{words[: SHOWN - 3]}..."
