"""Launches that are refused before anything is imported."""

import subprocess
import sys
from pathlib import Path

import pytest

from lit_pure.config.compose import ConfigError, compose
from lit_pure.runs import check
from lit_pure.runs.check import refuse_debug_need, require_launchable
from lit_pure.runs.folder import MissingRun


def test_a_logger_without_its_package_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check, "_exists", lambda name: name != "wandb")
    require_launchable(compose("demo", ["trainer.loggers=[csv,mlflow]"]))
    with pytest.raises(ConfigError, match=r"wandb is not installed: pip install 'lit_pure\[wandb\]', or leave it out"):
        require_launchable(compose("demo", ["trainer.loggers=[csv,wandb]"]))


def test_a_module_of_a_callback_may_be_in_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    experiment = compose("demo", ["trainer.callbacks=['lit_callbacks_of_mine.Look()']"])
    with pytest.raises(ConfigError, match="there is no module lit_callbacks_of_mine; install it, or put"):
        require_launchable(experiment)
    (tmp_path / "lit_callbacks_of_mine.py").write_text("")
    require_launchable(experiment)


def test_a_debug_run_makes_no_other_run_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    settings = ["mixin=debug/fast", "needs.tokenizer=tokenizer/nano"]
    with pytest.raises(MissingRun, match=r"runs/tokenizer/nano, and a debug run \(trainer.fast_dev_run\) makes no"):
        require_launchable(compose("demo", settings))
    require_launchable(compose("demo", settings[1:]))
    require_launchable(compose("demo", [*settings, "needs.weights=demo"]))


def test_an_experiment_that_always_debugs_is_no_need() -> None:
    refuse_debug_need(compose("demo"), "mine")
    with pytest.raises(ConfigError, match=r"mine needs demo, which trainer.limit_val_batches makes a debug run"):
        refuse_debug_need(compose("demo", ["trainer.limit_val_batches=1"]), "mine")


REFUSED = """
import sys
from lit_pure.__main__ import main
status = main(["run", "demo", "trainer.callbacks=['nobody_has_this.C()']"])
assert not {"torch", "lightning"} & set(sys.modules)
sys.exit(status)
"""


def test_it_is_refused_before_torch_is_imported() -> None:
    ended = subprocess.run([sys.executable, "-c", REFUSED], capture_output=True, text=True)
    assert ended.returncode == 2 and "there is no module nobody_has_this" in ended.stderr, ended.stderr
