"""Files that are laid over others: what wins, and what they must not set."""

from pathlib import Path

import pytest

from lit_pure.config.compose import ConfigError, changes, compose, files_of, load, save
from lit_pure.config.experiment import Experiment


@pytest.fixture(autouse=True)
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An experiment with a base, and files to lay over it."""
    monkeypatch.chdir(tmp_path)
    texts = {
        "base": "seed: 1\noptim: {lr: 0.1, min_lr: 0.01}\nmixin: 'small'\n",
        "mine": "base: base\noptim: {lr: 0.2}\n",
        "small": "seed: 2\ntrainer: {max_steps: 2}\n",
        "smaller": "trainer: {max_steps: 1}\n",
        "wrong": "base: demo\n",
        "varied": "base: mine\nsweep: {seed: [5, 6]}\n",
    }
    for name, text in texts.items():
        (tmp_path / "experiments").mkdir(exist_ok=True)
        (tmp_path / "experiments" / f"{name}.yaml").write_text(text)
    return tmp_path


def found(experiment: Experiment) -> tuple[int, float, int]:
    return experiment.seed, experiment.optim.lr, experiment.trainer.max_steps


def test_what_a_file_mixes_in_wins_over_it_and_not_over_what_inherits_it() -> None:
    assert found(compose("base")) == (2, 0.1, 2)
    assert found(compose("mine")) == (2, 0.2, 2)
    assert found(compose("mine", ["seed=3"])) == (3, 0.2, 2)


def test_the_command_line_mixes_in_above_all_files_and_below_its_own_settings() -> None:
    assert found(compose("mine", ["mixin=smaller"])) == (2, 0.2, 1)
    assert found(compose("mine", ["trainer.max_steps=7", "mixin=smaller"])) == (2, 0.2, 7)
    assert found(compose("mine", ["mixin=smaller, small"])) == (2, 0.2, 2), "the last one wins"
    assert found(compose("varied/seed=5", ["mixin=small"])) == (5, 0.2, 2), "a variant is what its sweep says"


def test_a_run_s_settings_are_not_mixed_again_and_a_mixin_is_no_difference(files: Path) -> None:
    made = compose("mine", ["mixin=smaller", "trainer.max_steps=9"])
    save(made, files / "config.yaml")
    assert made.mixin == "smaller" and load(files / "config.yaml") == made
    assert compose("config.yaml").trainer.max_steps == 9
    assert not changes(made, compose("mine", ["trainer.max_steps=9"]))


def test_its_files_are_those_of_the_experiment() -> None:
    assert [path.stem for path in files_of("mine", ["mixin=smaller"])] == ["base", "small", "mine", "smaller"]


@pytest.mark.parametrize(
    ("mixin", "words"),
    [
        ("smal", "no experiment 'smal'.*did you mean small?"),
        ("wrong", "experiments/wrong.yaml: base: is not for a file that is mixed in"),
        ("varied", "base: is not for"),
    ],
)
def test_what_cannot_be_mixed_in_is_refused(mixin: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        compose("mine", [f"mixin={mixin}"])
