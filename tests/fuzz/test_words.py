"""Every knob with odd values, and every command with odd words: a line with what is wrong, and nothing is begun."""

import random
import typing
from collections.abc import Iterator
from dataclasses import is_dataclass
from pathlib import Path

import pytest

from lit_pure.__main__ import COMMANDS
from lit_pure.config.families import FAMILIES
from lit_pure.config.typed import hints_of
from tests.fuzz.cases import ODD, refusal

NAMES = {"pure": "demo", "tokenizer": "tokenizer/nano", "dem": "dem/nano"}


def knobs(kind: type, prefix: str = "") -> Iterator[str]:
    """The dotted keys of a family, sections and one test set included."""
    for name, hint in hints_of(kind).items():
        yield f"{prefix}{name}"
        if is_dataclass(hint):
            yield from knobs(typing.cast(type, hint), f"{prefix}{name}.")
        elif typing.get_origin(hint) is dict:
            yield from knobs(typing.get_args(hint)[1], f"{prefix}{name}.demo.")


def feed(family: str, values: int) -> tuple[int, int]:
    """How many values were fed and refused, of `values` odd ones for each knob."""
    draw = random.Random(0)
    words = [(key, value) for key in knobs(FAMILIES[family]) for value in draw.sample(ODD, values)]
    refused = [refusal(["config", NAMES[family], f"{key}={value}"]) for key, value in words]
    for (key, _), said in zip(words, refused, strict=True):
        assert not said or key.rpartition(".")[2] in said or key in ("family", "base") or "no experiment" in said, (
            key,
            said,
        )
    return len(words), sum(map(bool, refused))


@pytest.mark.parametrize(("family", "values"), [("pure", 2), ("tokenizer", 1)])
def test_a_knob_refuses_what_it_cannot_have_by_name(family: str, values: int) -> None:
    fed, refused = feed(family, values)
    assert fed > 60 and refused > fed // 3


@pytest.mark.slow
@pytest.mark.parametrize("family", NAMES)
def test_every_knob_with_every_odd_value(family: str) -> None:
    assert feed(family, len(ODD))[1] > 500


WORDS = (
    "",
    "-",
    "--",
    "nowhere",
    "nowhere/at/all",
    "--nosuch",
    "=",
    "a=b",
    "[1",
    "é\udcff",
    "x" * 300,
    "-1",
    "..",
    "a\nb",
)


@pytest.mark.parametrize("command", COMMANDS)
def test_odd_words_behind_a_command_are_refused(command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")  # ".." is a folder without pictures
    for first in WORDS:
        for second in ((), ("nowhere", "--out", "nowhere/x"), ("--nosuch", first)):
            refusal([command, first, *second])


@pytest.mark.parametrize("words", [[], ["nosuch"], ["--nosuch"], ["--traceback"], ["run"], [""]])
def test_odd_words_in_place_of_a_command_are_refused(words: list[str]) -> None:
    assert refusal(words)
