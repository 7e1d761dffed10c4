"""What of a finished run may be set otherwise when it restores.

Knows runs and settings. Knows nothing of weights, and imports no torch, so that a mistake is refused at once.
"""

from collections.abc import Sequence

from lit_pure.config.compose import COMMAND_LINE, ConfigError, differences, override
from lit_pure.config.experiment import ColorFix
from lit_pure.config.pure import PureExperiment
from lit_pure.runs.folder import Run

FIX: ColorFix = "wavelet"
"""People look at photographs; the model's own colours, which tests measure, are those of `none`."""
CHANGEABLE = ("sampling.", "restoring.")
"""What may differ from the run: all else is in the weights."""


def settings_of(run: Run, given: Sequence[str]) -> PureExperiment:
    """The run's experiment as it restores for people, with settings KEY=VALUE laid over it. Raises ConfigError."""
    experiment = run.experiment()
    if not isinstance(experiment, PureExperiment):
        raise ConfigError(
            f"{run.label} is a run of family {experiment.family}, which restores nothing; name a pure one"
        )
    settings = override(experiment, [f"restoring.color_fix={FIX}", *given])
    fixed = [line for line in differences(experiment, settings) if not line.startswith(CHANGEABLE)]
    if fixed:
        raise ConfigError(
            f"{COMMAND_LINE}: {fixed[0]}: the weights of {run.label} are made for the former; "
            "only sampling and restoring can be changed"
        )
    assert isinstance(settings, PureExperiment)
    return settings
