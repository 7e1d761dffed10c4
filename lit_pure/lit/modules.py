"""From an experiment, and the runs that it builds on, to its LightningModule. Knows the table of families alone."""

from collections.abc import Mapping
from importlib import import_module

from lit_pure.config.experiment import Experiment
from lit_pure.families.table import family_of
from lit_pure.lit.data import Transform
from lit_pure.lit.run_module import RunModule
from lit_pure.runs.folder import Run


def build_module(experiment: Experiment, needs: Mapping[str, Run]) -> tuple[RunModule, Transform]:
    """The LightningModule of an experiment, and what is done to its batches. Raises ValueError for what is missing."""
    module, transform = import_module(family_of(experiment).module).build(experiment, needs)
    assert isinstance(module, RunModule)
    return module, transform
