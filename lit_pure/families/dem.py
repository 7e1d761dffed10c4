"""The family of degradation estimators. Knows what it answers; networks are in `degradation/`, training in `lit/`."""

from lit_pure.config.dem import DemExperiment
from lit_pure.families.family import Family


class Dem(Family):
    """Pictures to scores of blur and noise."""

    config = DemExperiment
    module = "lit_pure.lit.dem"
    method = "estimated"
    changeable = ()
