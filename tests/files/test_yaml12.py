"""YAML as version 1.2 means it: letters stay until a type is known, and no file crashes the reader."""

from typing import Any

import pytest

from lit_pure.files.yaml12 import Plain, parse, resolved


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0010", 10),
        ("-7", -7),
        ("1e-4", 1e-4),
        ("1.10", 1.1),
        (".5", 0.5),
        ("-.INF", float("-inf")),
        ("true", True),
        ("~", None),
        ("", None),
        ("12:30", "12:30"),
        ("2024_01", "2024_01"),
        ("0x10", "0x10"),
        ("0o17", "0o17"),
        ("yes", "yes"),
        ("off", "off"),
        ("2024-01-01", "2024-01-01"),
        ("'1'", "1"),
        ('"a\\tb"', "a\tb"),
        ("!!str 5", "5"),
        ("!!int '5'", 5),
    ],
)
def test_a_scalar_is_what_version_1_2_makes_of_it(text: str, value: Any) -> None:
    found = resolved(parse(text))
    assert found == value and type(found) is type(value)


def test_letters_stay_where_there_are_no_quotes_and_keys_are_text() -> None:
    tree = parse("0001: [0010, '0010']\nb: &b {x: 1}\nc: {<<: *b, y: 2}\nd: *b\n")
    assert tree == {"0001": ["0010", "0010"], "b": {"x": "1"}, "c": {"x": "1", "y": "2"}, "d": {"x": "1"}}
    assert [type(item) for item in tree["0001"]] == [Plain, str]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: 1\n'a': 2", "key a is repeated .line 2"),
        ("[" * 100_000, "nested too deeply"),
        ("- " * 100_000 + "x", "nested too deeply"),
        ("&a [*a]", "stands for nothing above, or for itself"),
        (
            "a: &a [" + "x," * 999 + "]\nb: &b [" + "*a," * 999 + "]\nc: [" + "*b," * 999 + "]",
            "more than 200,000 values",
        ),
        ("--- 1\n--- 2", "several documents"),
        ("{[a]: 1}", "a key is text"),
        ("<<: 3", "<< takes keys and values"),
        ("!!python/object:os.system {}", "tag .* is not read"),
        ("a: [1", "line 1"),
        ("a\0b", "control characters"),
        ("\ud800", "surrogates"),
    ],
)
def test_what_is_no_yaml_is_refused_in_one_line(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words) as caught:
        parse(text)
    assert "\n" not in str(caught.value)
