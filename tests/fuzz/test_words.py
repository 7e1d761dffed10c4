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
from tests.fuzz import test_files
from tests.fuzz.cases import ODD, refusal

NAMES = {
    "pure": "demo",
    "tokenizer": "tokenizer/nano",
    "dem": "dem/nano",
    "nsarm": "nsarm/nano",
    "bit_tokenizer": "nsarm/nano/tokenizer",
}


def knobs(kind: type, prefix: str = "") -> Iterator[str]:
    """The dotted keys of a family, sections and one test set included."""
    for name, hint in hints_of(kind).items():
        yield f"{prefix}{name}"
        if is_dataclass(hint):
            yield from knobs(typing.cast(type, hint), f"{prefix}{name}.")
        elif typing.get_origin(hint) is dict:
            yield from knobs(typing.get_args(hint)[1], f"{prefix}{name}.demo.")


KNOBS = {family: len(list(knobs(FAMILIES[family]))) for family in NAMES}


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


VALUES = {"pure": 2, "tokenizer": 1, "nsarm": 1, "bit_tokenizer": 1}
"""How many odd values each knob of a family gets."""


@pytest.mark.parametrize("family", VALUES)
def test_a_knob_refuses_what_it_cannot_have_by_name(family: str) -> None:
    fed, refused = feed(family, VALUES[family])
    assert fed == KNOBS[family] * VALUES[family] and refused > fed // 3


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


BEHIND = ((), ("nowhere", "--out", "nowhere/x"), ("--nosuch", "again"))


@pytest.mark.parametrize("command", COMMANDS)
def test_odd_words_behind_a_command_are_refused(command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")  # ".." is a folder without pictures
    for first in WORDS:
        for more in BEHIND:
            refusal([command, first, *(first if word == "again" else word for word in more)])


@pytest.mark.parametrize("words", [[], ["nosuch"], ["--nosuch"], ["--traceback"], ["run"], [""]])
def test_odd_words_in_place_of_a_command_are_refused(words: list[str]) -> None:
    assert refusal(words)


PLANNED = sum(KNOBS[family] * VALUES[family] for family in VALUES) + len(COMMANDS) * len(WORDS) * len(BEHIND)
"""Cases of this file but for the slow ones."""


def test_the_suite_feeds_at_least_two_thousand_cases() -> None:
    assert PLANNED + test_files.PLANNED >= 2_000
