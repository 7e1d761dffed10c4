"""Refuses a launch that would fail later: packages of loggers, modules of callbacks, needs of a debug run.

Knows where Python looks for modules, but imports none of them. Knows nothing of what is trained.
"""

import sys
from collections.abc import Sequence
from importlib.machinery import PathFinder
from pathlib import Path

from lit_pure.config.compose import ConfigError
from lit_pure.config.experiment import Experiment
from lit_pure.runs import folder as runs
from lit_pure.runs.folder import MissingRun

EXTRAS = ("wandb", "mlflow")
"""Loggers whose packages are extras of the same name."""


def require_launchable(experiment: Experiment) -> None:
    """Raises ConfigError for a missing package, and MissingRun for a debug run that would make another run first."""
    trainer = experiment.trainer
    for name in EXTRAS:
        if name in trainer.loggers and not _exists(name):
            raise ConfigError(
                f"trainer.loggers: {name} is not installed: pip install 'lit_pure[{name}]', or leave it out, for "
                "example trainer.loggers=[tensorboard,csv]"
            )
    for call in trainer.called():
        top = call.module.partition(".")[0]
        if not _exists(top):
            raise ConfigError(
                f"trainer.callbacks: {call.dotted}: there is no module {top}; install it, or put {top}.py into the "
                "working directory"
            )
    if trainer.debugging() and not experiment.needs.weights:
        _require_needs(experiment)


def refuse_debug_need(experiment: Experiment, needed_by: str) -> None:
    """Raises ConfigError for an experiment that another one needs, and that is a debug run by its own settings."""
    if knobs := experiment.trainer.debugging():
        raise ConfigError(
            f"{needed_by} needs {experiment.name}, which {knobs[0]} makes a debug run: it never counts as finished; "
            f"take that out of {experiment.name}"
        )


def search_path() -> list[str]:
    """Where modules of callbacks are looked for: where Python looks, and in the working directory."""
    here = str(Path.cwd())
    return [*sys.path, *([] if here in sys.path else [here])]


def _exists(module: str) -> bool:
    return module in sys.modules or PathFinder.find_spec(module, search_path()) is not None


def _require_needs(experiment: Experiment) -> None:
    missing: Sequence[str] = [
        need for need in experiment.needs.made_first().values() if runs.newest_finished(need) is None
    ]
    if missing:
        raise MissingRun(
            f"there is no finished run {runs.ROOT / missing[0]}, and a debug run ({experiment.trainer.debugging()[0]}) "
            f"makes no other run first; make it with: {runs.make_command(missing[0])}"
        )
