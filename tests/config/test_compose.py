"""Configuration: inheritance, overrides, refusals. Refusals are run as a user runs them, in a fresh process."""

import subprocess
import sys
from pathlib import Path

import pytest

from lit_pure.config.compose import ConfigError, compose, compose_as, differences, grid, load, save
from lit_pure.config.experiment import Experiment
from lit_pure.config.pure import PureExperiment
from lit_pure.config.tokenizer import TokenizerExperiment

PROBE = """
import sys
from lit_pure.__main__ import main
code = main(sys.argv[1:])
assert not {"torch", "lightning", "pandas"} & set(sys.modules), "a refusal imported a heavy package"
sys.exit(code)
"""


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with experiments of its own."""
    files = {
        "root": "family: pure\nseed: 1\nsampling: {k: 5, mu: 4.0}\ndata: {test: {a: {names: [x]}}}\n",
        "other": "family: pure\nseed: 2\n",
        "child": "base: root\nsampling: {k: 6}\nneeds: {weights: '${base}'}\n",
        "grid": "base: root\nsweep:\n  sampling.k: [1, 50]\n  seed: [3, 4]\n",
        "circle": "base: round\n",
        "round": "base: circle\n",
        "tok": "family: tokenizer\n",
        "mixed": "base: tok\nfamily: pure\n",
        "typo": "base: root\nsampling:\n  temprature: 1\n",
        "broken": "base: root\n  seed: [1\n",
        "twice": "seed: 1\nseed: 2\n",
    }
    (tmp_path / "experiments").mkdir()
    for name, text in files.items():
        (tmp_path / "experiments" / f"{name}.yaml").write_text(text)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def pure(name: str, *overrides: str) -> PureExperiment:
    return compose_as(PureExperiment, name, overrides)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["sampling.guidnce=1"], ["command line", "sampling.guidnce", "1", "did you mean sampling.guidance?"]),
        (["trainer.max_steps=abc"], ["command line", "trainer.max_steps", "abc", "Integer"]),
        (
            ["data.degradation.jpeg_range=[95,30]"],
            ["command line", "data.degradation.jpeg_range", "[95.0, 30.0]", "[30.0, 95.0]"],
        ),
        (["nosuch"], ["command line", "nosuch", "key=value"]),
        (["data.size=100"], ["data.size", "100", "try 96"]),
        (["data=3"], ["command line", "data = 3"]),
        (["data.degradation.scale=0"], ["command line", "data.degradation.scale = 0 is below 1"]),
        (["backbone.heads=0"], ["command line", "backbone.heads = 0 is below 1"]),
        (["sampling.top_k=maybe"], ["sampling.top_k", "maybe", "dynamic"]),
        (["base=nowhere"], ["nowhere", "there are"]),
        (["evaluation.metrics=[psnr,lpipz]"], ["evaluation.metrics", "lpipz"]),
        (["data.degradation.preset=sesr"], ["command line", "data.degradation.preset", "sesr", "did you mean seesr?"]),
    ],
)
def test_a_mistake_in_a_setting_is_refused_without_torch(
    arguments: list[str], words: list[str], tmp_path: Path
) -> None:
    command = [sys.executable, "-c", PROBE, "run", "demo", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert len(done.stderr.strip().splitlines()) <= 2
    assert done.stdout == ""
    for word in words:
        assert word in done.stderr


@pytest.mark.parametrize(
    ("key", "meant"),
    [
        ("lr", "optim.lr"),
        ("data.lr", "optim.lr"),
        ("optim.seed", "seed or sampling.seed"),
        ("crops", "data.train.crops or data.val.crops"),
    ],
)
def test_a_key_without_its_section_is_refused_with_where_it_is(key: str, meant: str) -> None:
    with pytest.raises(ConfigError, match=rf"no key {key} .*; did you mean {meant}\?$"):
        compose("demo", [f"{key}=1"])


def test_a_misspelled_experiment_is_refused_with_the_nearest_name(house: Path) -> None:
    with pytest.raises(ConfigError, match="did you mean root"):
        compose("rot")


def test_settings_come_from_bases_then_files_then_the_command_line(house: Path) -> None:
    assert pure("child").seed == 1
    assert pure("child").sampling.k == 6
    assert pure("child", "sampling.k=7").sampling.k == 7
    assert pure("child").sampling.mu == 4.0


def test_base_can_be_swapped_and_interpolation_follows(house: Path) -> None:
    assert pure("child").needs.weights == "root"
    swapped = pure("child", "base=other")
    assert (swapped.seed, swapped.needs.weights, swapped.sampling.k) == (2, "other", 6)


def test_a_saved_experiment_reads_back_equal(house: Path) -> None:
    experiment = pure("child", "data.degradation.jpeg_range=[40,50]")
    save(experiment, house / "config.yaml")
    assert load(house / "config.yaml") == experiment
    assert differences(experiment, pure("child")) == ["data.degradation.jpeg_range: (40.0, 50.0) -> (30.0, 95.0)"]


def test_a_sweep_is_the_product_of_its_lists(house: Path) -> None:
    assert list(grid("grid")) == ["k=1,seed=3", "k=1,seed=4", "k=50,seed=3", "k=50,seed=4"]
    chosen = pure("grid/k=50,seed=4", "trainer.max_steps=3")
    assert (chosen.sampling.k, chosen.seed, chosen.trainer.max_steps) == (50, 4, 3)
    assert chosen.name == "grid/k=50,seed=4" and pure("grid").sampling.k == 5


def test_an_unknown_variant_and_a_setting_that_a_sweep_varies_are_refused(house: Path) -> None:
    with pytest.raises(ConfigError, match=r"grid.yaml has no variant 'k=2'; it has k=1,seed=3, "):
        compose("grid/k=2")
    with pytest.raises(ConfigError, match=r"command line: seed=7 is what grid.yaml varies"):
        compose("grid/k=1,seed=3", ["seed=7"])
    (house / "experiments" / "grid.yaml").write_text("base: root\nsweep: {sampling.k: [-1]}\n")
    with pytest.raises(ConfigError, match=r"^experiments/grid.yaml: sampling.k = -1"):
        compose("grid/k=-1")
    with pytest.raises(ConfigError, match="no experiment 'root/k=2'"):
        compose("root/k=2")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("circle", "goes in a circle: circle -> round -> circle"),
        ("mixed", "family 'pure' differs from 'tokenizer' (of|in) .*tok.yaml"),
        ("typo", "typo.yaml: no key sampling.temprature .*did you mean sampling.temperature"),
        ("broken", "broken.yaml: not valid YAML"),
        ("twice", "twice.yaml: not valid YAML"),
    ],
)
def test_a_bad_experiment_file_is_named(house: Path, name: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        compose(name)


def test_an_experiment_of_another_family_than_asked_for_is_refused(house: Path) -> None:
    assert compose_as(TokenizerExperiment, "tok", ["seed=7"]) == compose("tok", ["seed=7"])
    assert compose_as(Experiment, "root").family == "pure"
    with pytest.raises(ConfigError, match="^tok is of family tokenizer; name one of family pure$"):
        compose_as(PureExperiment, "tok")
    with pytest.raises(ConfigError, match="no key vq.code .*; did you mean vq.codes"):
        compose_as(PureExperiment, "tok", ["vq.code=2"])


def test_a_tokenizer_without_levels_or_stem_is_refused(house: Path) -> None:
    for setting, words in {"vq.stem=0": "vq.stem = 0 is below 1", "vq.channels=[]": "make 0 px per code"}.items():
        with pytest.raises(ConfigError, match=words):
            compose("tok", [setting])


def test_all_problems_of_an_experiment_are_named_at_once(house: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        compose("root", ["seed=-1", "optim.lr=.nan", "sampling.k_min=30", "sampling.k_max=20"])
    assert all(word in str(caught.value) for word in ("seed = -1", "optim.lr = nan", "sampling.k_min 30"))


def test_a_test_set_added_on_the_command_line_is_checked(house: Path) -> None:
    assert set(pure("root", "data.test.b.crops=2").data.test) == {"a", "b"}
    with pytest.raises(ConfigError, match=r"data.test.b.crops = 0 is below 1"):
        compose("root", ["data.test.b.crops=0"])
    with pytest.raises(ConfigError, match="data.test.b.crop "):
        compose("root", ["data.test.b.crop=2"])


def test_a_setting_without_a_value_is_the_empty_text() -> None:
    assert compose("pure/paper", ["data.test.ost_val.lq=", "needs.dem="]).data.test["ost_val"].lq == ""
    with pytest.raises(ConfigError, match="trainer.max_steps"):
        compose("demo", ["trainer.max_steps="])
