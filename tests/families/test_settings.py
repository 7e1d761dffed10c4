"""What may be set otherwise when a finished run restores."""

from pathlib import Path

import pytest

from lit_pure.config.compose import ConfigError, compose
from lit_pure.config.experiment import Experiment
from lit_pure.config.pure import PureExperiment
from lit_pure.families.settings import settings_of
from lit_pure.runs.folder import Run


class Finished(Run):
    def experiment(self) -> Experiment:
        return compose("pure/paper")


RUN = Finished(Path("runs/pure/paper/version_0"))


def test_the_kernel_of_attention_is_free_and_the_rest_of_the_backbone_is_not() -> None:
    settings = settings_of(RUN, ["backbone.attention=sdpa", "sampling.seed=3"])
    assert isinstance(settings, PureExperiment)
    assert (settings.backbone.attention, settings.sampling.seed) == ("sdpa", 3)
    with pytest.raises(ConfigError, match="backbone.layers: 32 -> 2"):
        settings_of(RUN, ["backbone.layers=2"])
