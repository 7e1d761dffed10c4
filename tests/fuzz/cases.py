"""Odd values and damaged files, from a fixed seed, and what must become of them. Knows no command and no knob."""

import copy
import io
import json
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any, cast

import pytest

from lit_pure.__main__ import main

ODD = ("", " ", "null", "-1", "1e3", "1_0", "0x10", "12:30", "nan", "on", "[]", "[[1]]", "{a: b}", "[1", "'", "9" * 40)
"""Values of which most knobs refuse most."""
WRONG: tuple[Any, ...] = (None, True, -1, 10**30, 1.5, float("nan"), "", "x\u0000", [], [None], {}, {"a": [{}]})
"""Values in place of others in JSON."""
DEEP = 100_000
"""Nesting of which a recursive reader dies."""
WAYS = 10, 3
"""Of damaging a file: those that do not depend on it, and those that can be repeated anywhere in it."""
MOST_LINES = 12
"""Of a message; one for each problem of an experiment."""


def refusal(words: Sequence[str]) -> str:
    """What the command line says on standard error; "" where it does what it is asked. A traceback fails the test."""
    # As Python opens them: of the two, only standard error takes characters that are not UTF-8.
    out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", how) for how in ("strict", "backslashreplace"))
    with redirect_stdout(out), redirect_stderr(err):
        try:
            code: Any = main(list(words))
        except SystemExit as leaving:  # argparse
            code = leaving.code
        except BaseException as error:
            pytest.fail(f"{list(words)!r:.300} ends in {type(error).__name__}: {error!s:.300}")
        err.flush()
    said = cast(io.BytesIO, err.buffer).getvalue().decode()
    assert code in (0, 1, 2), (words, code)
    lines = said.strip().splitlines()
    assert "Traceback" not in said and len(lines) <= MOST_LINES, (words, said)
    assert lines or not code, f"{list(words)!r:.300} is refused without a word"
    return said if code else ""


def one_line_or_nothing(read: Callable[[], object], what: str) -> bool:
    """Whether a reader takes a file; a refusal is a ValueError, or an OSError, of one line."""
    try:
        read()
    except (ValueError, OSError) as error:
        assert str(error) and len(str(error).strip().splitlines()) <= MOST_LINES, (what, str(error))
        return False
    except BaseException as error:
        pytest.fail(f"{what} ends in {type(error).__name__}: {error!s:.300}")
    return True


def damaged(content: bytes, seed: int, count: int) -> Iterator[bytes]:
    """Cut, garbled, emptied and endless versions of a file; of JSON also such with wrong values or missing keys."""
    draw = random.Random(seed)
    yield from (
        b"",
        b"\xff\xfe\x00",
        b"[" * DEEP,
        b'{"a":' * DEEP,
        b"- " * DEEP,
        b"null",
        b"[1, 2]",
        b"x",
        b"{}",
        b"a: &a [*a]",
    )
    lines = content.splitlines(keepends=True)
    for _ in range(count):
        at = draw.randrange(len(content))
        line = draw.randrange(len(lines))
        yield content[:at]
        yield content[:at] + bytes([draw.randrange(256)]) + content[at + 1 :]
        yield b"".join(lines[:line] + lines[line + 1 :])
        yield from _with_wrong_value(content, draw)


def _with_wrong_value(content: bytes, draw: random.Random) -> Iterator[bytes]:
    try:
        tree = json.loads(content)
    except ValueError:
        return
    for value in (draw.choice(WRONG), KeyError):
        changed = copy.deepcopy(tree)
        holder, key = draw.choice(list(_places(changed)) or [(None, None)])
        if holder is None:
            return
        if value is KeyError:
            del holder[key]
        else:
            holder[key] = value
        yield json.dumps(changed).encode()


def _places(tree: Any) -> Iterator[tuple[Any, Any]]:
    """Every holder of a value, and the key of the value in it."""
    keys = list(tree) if isinstance(tree, dict) else range(len(tree)) if isinstance(tree, list) else ()
    for key in keys:
        yield tree, key
        yield from _places(tree[key])


def write(path: Path, content: bytes) -> None:
    """Write a file, with its folders."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
