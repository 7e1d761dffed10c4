"""What of a finished run may be set otherwise when it restores.

Knows runs and settings. Knows nothing of weights, and imports no torch, so that a mistake is refused at once.
"""

from collections.abc import Sequence

from lit_pure.config.compose import COMMAND_LINE, ConfigError, differences, override
from lit_pure.config.experiment import ColorFix, RestoringExperiment
from lit_pure.families.table import family_of, require_restoring
from lit_pure.runs.folder import Run

FIX: ColorFix = "wavelet"
"""People look at photographs; the model's own colours, which tests measure, are those of `none`."""


def settings_of(run: Run, given: Sequence[str]) -> RestoringExperiment:
    """The run's experiment as it restores for people, with settings KEY=VALUE laid over it. Raises ConfigError."""
    experiment, family = require_restoring(run), family_of(run)
    changeable = family.changeable
    settings = override(experiment, [f"restoring.color_fix={FIX}", *given])
    assert isinstance(settings, RestoringExperiment)
    allowed = (*(f"{section}." for section in changeable), *(f"{knob}:" for knob in family.faster))
    if fixed := [line for line in differences(experiment, settings) if not line.startswith(allowed)]:
        raise ConfigError(
            f"{COMMAND_LINE}: {fixed[0]}: the weights of {run.label} are made for the former; "
            f"only {' and '.join(changeable)} can be changed"
        )
    return settings
