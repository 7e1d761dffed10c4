"""Experiments are found by name or by path, in the user's folder and in the project's."""

import shutil
from pathlib import Path

import pytest

from lit_pure.config import compose as composing
from lit_pure.config.compose import PROJECT, ConfigError, compose, experiment_names, grid, is_sweep


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with an experiments/ of its own, as other tools have one for their results."""
    (tmp_path / "experiments" / "mine").mkdir(parents=True)
    (tmp_path / "experiments" / "mine" / "one.yaml").write_text("base: demo\nseed: 5\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_experiments_of_the_project_are_found_beside_the_user_s(here: Path) -> None:
    assert compose("demo").name == "demo" and compose("mine/one").seed == 5 and is_sweep("sweeps/codes")
    assert {"mine/one", "demo", "pure/nano"} <= set(experiment_names())
    (here / "experiments" / "demo.yaml").write_text("base: pure/nano\nseed: 7\n")
    assert compose("demo").seed == 7, "the user's comes first"
    with pytest.raises(ConfigError, match=r"no experiment 'mine/on' .*did you mean mine/one\?"):
        compose("mine/on")


@pytest.mark.parametrize(
    "path", ["experiments/demo.yaml", "experiments/demo", "demo.yaml", str(PROJECT / "experiments/demo.yaml")]
)
def test_a_path_is_as_good_as_a_name(path: str, here: Path) -> None:
    assert compose(path) == compose("demo")


def test_a_base_and_a_sweep_may_be_given_by_path(here: Path) -> None:
    assert compose("ablations/sampling/top1", ["base=experiments/demo.yaml"]) == compose(
        "ablations/sampling/top1", ["base=demo"]
    )
    assert list(grid("experiments/sweeps/codes.yaml")) == ["codes=512"]
    assert compose("experiments/sweeps/codes/codes=512").name == "sweeps/codes/codes=512"


def test_a_file_elsewhere_is_named_by_its_path_and_a_run_s_config_by_its_run(here: Path) -> None:
    (here / "notes").mkdir()
    shutil.copy("experiments/mine/one.yaml", "notes/two.yaml")
    assert (compose("notes/two.yaml").name, compose(str(here / "notes" / "two.yaml")).name) == (
        "notes/two",
        "notes/two",
    )
    run = here / "runs" / "demo" / "version_0"
    run.mkdir(parents=True)
    wanted = compose("demo", ["seed=3"])
    composing.save(wanted, run / "config.yaml")
    assert compose("runs/demo/version_0/config.yaml") == wanted
    with pytest.raises(ConfigError, match="did you mean runs/demo/version_0/config.yaml"):
        compose("runs/demo/version_0")
    (run / "config.yaml").write_text("name: ../../elsewhere\n")
    with pytest.raises(ConfigError, match="expected that of an experiment"):
        compose("runs/demo/version_0/config.yaml")


@pytest.mark.parametrize("text", ["base: [demo]", "base: {a: b}", "base: ~"])
def test_a_base_that_is_no_name_is_refused(text: str, here: Path) -> None:
    (here / "experiments" / "x.yaml").write_text(text)
    with pytest.raises(ConfigError, match="x.yaml: base = .*: name one experiment"):
        compose("x")
