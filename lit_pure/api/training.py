"""`build`: an experiment as a LightningModule and its data, for a Trainer of one's own.

Knows what must be there before it is built. Knows nothing of training: runs, with their folders, are `lit/build.py`'s.
"""

from collections.abc import Sequence
from typing import Never

from lit_pure.config.compose import compose
from lit_pure.config.experiment import Experiment
from lit_pure.families.table import family_of
from lit_pure.lit.data import Identity, PhotoDataModule
from lit_pure.lit.modules import build_module
from lit_pure.lit.needs import provide
from lit_pure.lit.run_module import RunModule
from lit_pure.runs import folder as runs
from lit_pure.runs.folder import MissingRun


def build(experiment: str, settings: Sequence[str] = ()) -> tuple[RunModule, PhotoDataModule]:
    """The LightningModule of an experiment, and its LightningDataModule: `Trainer(max_steps=100).fit(*build("demo"))`.

    The Trainer's own arguments count, not those in `trainer:`; the schedule of the learning rate spans its steps.

    Args:
        experiment: a path below experiments/, for example `pure/nano`.
        settings: KEY=VALUE, as on the command line, for example `["data.batch_size=2"]`.

    Raises:
        ConfigError: there is no such experiment or setting, or it lacks something.
        MissingRun: a run that it is built on is missing; the message names the command that makes it.
        ValueError: its photographs are missing.
    """
    composed = compose(experiment, settings)
    runs.refuse_training(composed)
    if not composed.needs.weights:
        family_of(composed).check(composed)
    needs = provide(composed, (), _refuse, {})
    data = PhotoDataModule(composed.data, composed.seed, Identity(), trains=not composed.needs.weights)
    module, data.transform = build_module(composed, needs)
    return module, data


def _refuse(experiment: Experiment, command: Sequence[str]) -> Never:
    raise MissingRun(f"there is no finished run of {experiment.name}; {runs.make_command(experiment.name)} makes it")
