"""What is written for a knob is what it gets: text as its letters, numbers as decimal numbers, or one line."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest

from lit_pure.config.compose import ConfigError, compose, grid, load, save
from lit_pure.config.data import PhotosConfig
from lit_pure.config.layers import Layer
from lit_pure.config.merge import merge
from lit_pure.config.pure import PureExperiment
from lit_pure.config.typed import Argument, Unfit, fitted
from lit_pure.files.yaml12 import parse

LETTERS = ["0123", "2024_01", "on", "12:30", "1.10", "1e3", "0x1F", "true", "[a]", "{a: b}", "a: b", "x #1", "=", "-"]


@dataclass
class Knobs:
    text: str = ""
    word: Literal["on", "off", "1"] = "on"
    names: list[str] = field(default_factory=list)
    wholes: list[int] = field(default_factory=list)
    whole: int = 0
    real: float = 0.0
    truth: bool = False
    pair: tuple[float, float] = (0.0, 1.0)
    sets: dict[str, PhotosConfig] = field(default_factory=dict)


@pytest.mark.parametrize("letters", [*LETTERS, "/data/set #1", "a=b", "~", "null", "'", "'a' and 'b'", " x ", "größe"])
def test_the_command_line_gives_text_as_it_stands(letters: str) -> None:
    experiment = compose("demo", [f"data.train.source={letters}", f"data.test.0010.source={letters}"])
    assert experiment.data.train.source == experiment.data.test["0010"].source == letters


@pytest.mark.parametrize("letters", [letters for letters in LETTERS if not set(letters) & set("[{:#=")])
def test_a_file_gives_text_by_its_letters(letters: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "x.yaml").write_text(
        f"base: demo\ndata: {{train: {{source: {letters}, names: [{letters}, '{letters}']}}}}"
    )
    monkeypatch.chdir(tmp_path)
    experiment = compose("x.yaml")
    assert (experiment.data.train.source, experiment.data.train.names) == (letters, [letters, letters])
    save(experiment, tmp_path / "config.yaml")
    assert load(tmp_path / "config.yaml") == experiment


@pytest.mark.parametrize(
    ("given", "taken"),
    [
        ({"text": Argument("'12:30'"), "word": Argument("on")}, {"text": "12:30", "word": "on"}),
        ({"text": Argument('"a\\tb"'), "word": Argument("1")}, {"text": "a\tb", "word": "1"}),
        ({"names": Argument("[0001, 0010, on, '']")}, {"names": ["0001", "0010", "on", ""]}),
        ({"whole": Argument("0123"), "real": Argument("0123")}, {"whole": 123, "real": 123.0}),
        ({"real": Argument("1e-4"), "truth": Argument("TRUE")}, {"real": 1e-4, "truth": True}),
        ({"pair": Argument("[1e0, .5]"), "truth": Argument("0")}, {"pair": [1.0, 0.5], "truth": False}),
        ({"sets": Argument("{0001: {crops: 02}}")}, {"sets": {"0001": {"crops": 2}}}),
        ({"whole": Argument("${other}")}, {"whole": "${other}"}),
    ],
)
def test_a_knob_takes_what_its_type_says(given: dict[str, Any], taken: dict[str, Any]) -> None:
    assert fitted(Knobs, given) == taken


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("whole", "1_000", "Integer"),
        ("whole", "0x10", "Integer"),
        ("whole", "1:30", "Integer"),
        ("whole", "1e3", "Integer"),
        ("whole", "9" * 30, "Integer"),
        ("whole", "\u0661", "Integer"),
        ("real", "1_0.5", "Float"),
        ("real", "inf", "Float"),
        ("real", "1:30.5", "Float"),
        ("truth", "yes", "true or false"),
        ("truth", "on", "true or false"),
        ("truth", "5", "true or false"),
        ("names", "a", "is no list"),
        ("names", "{a: b}", "is no list"),
        ("names", "[[a]]", "is no text"),
        ("names", "[a #b]", "in quotes"),
        ("wholes", "[[1]]", "is no number"),
        ("wholes", "[1, {a: 1}]", "without further brackets"),
        ("pair", "[0, [1]]", "is no number"),
        ("sets", "3", "keys of its own"),
    ],
)
@pytest.mark.parametrize("by_file", [False, True])
def test_what_is_not_decimal_or_no_list_is_refused(key: str, value: str, words: str, by_file: bool) -> None:
    try:
        given = parse(value) if by_file else Argument(value)
    except ValueError:
        return  # not even YAML; `parse` has its own test
    with pytest.raises(Unfit, match=words) as caught:
        fitted(Knobs, {key: given})
    assert caught.value.key == key


def test_a_sweep_over_text_keeps_its_letters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (
        "base: demo\nsweep:\n  data.val.source: [0123, on, '\"x\"', a #b]\n  data.val.names: [[0001, 0010], [it's]]\n"
    )
    (tmp_path / "experiments").mkdir()
    (tmp_path / "experiments" / "s.yaml").write_text(text.replace("a #b", "'a #b'") + "  optim.lr: [1e-4]\n")
    monkeypatch.chdir(tmp_path)
    labels = list(grid("s"))
    assert labels[0] == "source=0123,names=['0001', '0010'],lr=0.0001"
    found = [compose(f"s/{label}") for label in labels]
    assert {one.data.val.source for one in found} == {"0123", "on", '"x"', "a #b"}
    assert {tuple(one.data.val.names) for one in found} == {("0001", "0010"), ("it's",)}
    assert {one.optim.lr for one in found} == {1e-4}


def test_seeds_are_decimal_in_all_places() -> None:
    experiment = compose("demo", ["seed=0010", "sampling.seed=007"])
    assert isinstance(experiment, PureExperiment) and (experiment.seed, experiment.sampling.seed) == (10, 7)
    with pytest.raises(ConfigError, match=r"^command line: seed = 0o17: is no Integer; .*; the default is 0$"):
        compose("demo", ["seed=0o17"])


def test_dotted_keys_of_a_file_are_those_of_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("x.yaml").write_text("base: demo\noptim.lr: 1e-4\ndata: {train.crops: 3, degradation.preset: seesr}\n")
    found = compose("x.yaml")
    assert (found.optim.lr, found.data.train.crops, found.data.degradation.preset) == (1e-4, 3, "seesr")
    for twice in ("optim: {lr: 1.0}\noptim.lr: 1.0\n", "optim.lr: 1.0\noptim: 3\n"):
        Path("x.yaml").write_text(f"base: demo\n{twice}")
        with pytest.raises(ConfigError, match="x.yaml: optim.* is set twice"):
            compose("x.yaml")


@pytest.mark.parametrize("given", ["[]", "[1]", "[1, 2, 3]"])
def test_a_list_of_another_length_is_refused_by_the_name_of_its_knob(given: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"data.degradation.jpeg_range = .* is a list of .; write 2 values"):
        compose("demo", [f"data.degradation.jpeg_range={given}"])
    save(compose("demo"), tmp_path / "config.yaml")
    whole = (tmp_path / "config.yaml").read_text()
    assert "poisson_scale_range2:\n    - 0.05\n    - 2.5\n" in whole
    (tmp_path / "config.yaml").write_text(whole.partition("    - 2.5\n")[0])  # cut by a full disk
    with pytest.raises(ConfigError, match=r"data.degradation.poisson_scale_range2 = \[0.05\]: is a list of 1"):
        load(tmp_path / "config.yaml")


def test_a_value_that_only_the_merge_refuses_is_found_behind_test_sets() -> None:
    values = {"data": {"test": {"demo": {"source": "a"}}}, "trainer": {"strategy": [1]}}
    with pytest.raises(ConfigError, match=r"^file: trainer.strategy = \[1\]"):
        merge(PureExperiment, [Layer("file", values)])


def test_a_whole_section_in_place_of_a_number_is_not_shown_whole() -> None:
    with pytest.raises(ConfigError, match=r"^command line: seed: While dereferencing .* \.\.\.$") as refused:
        compose("demo", ["seed=${data}"])
    assert len(str(refused.value)) < 250
