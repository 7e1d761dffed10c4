"""From an experiment and the runs it builds on to its modules.

Knows which class serves which family: this is the only place that switches on it. Knows nothing of how one is trained.
"""

import logging

from lightning import LightningModule

from lit_pure.config.dem import DemExperiment
from lit_pure.config.experiment import Experiment
from lit_pure.config.pure import PureExperiment
from lit_pure.config.tokenizer import TokenizerExperiment
from lit_pure.families.pure.build import _new_restorer, _tile
from lit_pure.families.pure.sequence.template import PERCEIVES
from lit_pure.lit.data import DegradationPairs, DegradeAndScore, Identity, Transform
from lit_pure.lit.dem import DemModule
from lit_pure.lit.pure import ARModule
from lit_pure.lit.tokenizer import TokenizerModule
from lit_pure.models import weights
from lit_pure.runs.folder import Run

log = logging.getLogger(__name__)


def made_module(experiment: Experiment, needs: dict[str, Run]) -> tuple[LightningModule, Transform]:
    """The LightningModule of an experiment, and what it wants done to a batch."""
    transform: Transform = Identity()
    module: LightningModule
    match experiment:
        case TokenizerExperiment():
            module = TokenizerModule(experiment)
        case DemExperiment():
            module, transform = DemModule(experiment), DegradationPairs(experiment.data.degradation)
        case PureExperiment():
            dem = weights.load_dem(needs["dem"].weights) if "dem" in needs else None
            if dem is None and experiment.sequence.guidance_mode in PERCEIVES and "weights" not in needs:
                raise ValueError(f"guidance mode {experiment.sequence.guidance_mode} needs labels: set needs.dem")
            module = ARModule(experiment, _new_restorer(experiment, needs))
            transform = DegradeAndScore(experiment.data.degradation, dem, _tile(experiment, needs))
        case _:
            raise ValueError(f"family {experiment.family} cannot be run")
    return module, transform
