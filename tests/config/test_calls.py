"""Callbacks as calls: what is read, and what is refused without importing anything."""

import pytest

from lit_pure.config.calls import Call, parse_call
from lit_pure.config.compose import ConfigError, compose
from lit_pure.config.training import TrainerConfig


def test_a_call_has_a_class_and_plain_arguments() -> None:
    words = "a.b.C(monitor='val/loss', patience=3, sizes=[1, -2.5], more={'x': None})"
    arguments = {"monitor": "val/loss", "patience": 3, "sizes": [1, -2.5], "more": {"x": None}}
    assert parse_call(words) == Call("a.b", "C", arguments)
    assert parse_call("a.b.C") == parse_call(" a.b.C() ") == Call("a.b", "C", {})


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ("C()", "has no module"),
        ("a.C(3)", "name each argument"),
        ("a.C(**x)", "name each argument"),
        ("a.C(x=open('y'))", "malformed node"),
        ("a.C(x=", "was never closed"),
        ("a[0].C()", "it names no class"),
        ("", "invalid syntax"),
    ],
)
def test_other_words_are_refused_with_an_example(words: str, reason: str) -> None:
    with pytest.raises(ValueError, match=rf"{reason}.*EarlyStopping\(monitor=") as caught:
        parse_call(words)
    assert repr(words) in str(caught.value)


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("trainer.callbacks=['mine.C(3)']", "trainer.callbacks = 'mine.C.3.' .name each argument"),
        ("trainer.max_time=1h", "trainer.max_time = 1h: write DD:HH:MM:SS"),
        ("trainer.min_steps=61", "trainer.min_steps = 61 is above max_steps = 60"),
        ("trainer.loggers=[csv,csv]", "csv stands there twice"),
        ("trainer.loggers=[neptune]", "trainer.loggers"),
    ],
)
def test_the_command_line_refuses_what_cannot_be(setting: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        compose("demo", [setting])


@pytest.mark.parametrize(
    "knob", ["fast_dev_run=1", "overfit_batches=1", "limit_val_batches=0", "profiler=simple", "detect_anomaly=true"]
)
def test_debugging_is_one_rule(knob: str) -> None:
    assert compose("demo", [f"trainer.{knob}"]).trainer.debugging() == [f"trainer.{knob.partition('=')[0]}"]
    assert not TrainerConfig().debugging() and not TrainerConfig(max_steps=3, deterministic=True).debugging()
