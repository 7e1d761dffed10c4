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
    return laid_over(require_restoring(run), [f"restoring.color_fix={FIX}", *given], run.label)


def laid_over(experiment: RestoringExperiment, given: Sequence[str], label: str) -> RestoringExperiment:
    """An experiment with settings KEY=VALUE laid over it; `label` names its weights.

    Raises ConfigError for what the weights are made for.
    """
    family = family_of(experiment)
    settings = override(experiment, given)
    allowed = (*(f"{section}." for section in family.changeable), *(f"{knob}:" for knob in family.faster))
    if fixed := [line for line in differences(experiment, settings) if not line.startswith(allowed)]:
        raise ConfigError(
            f"{COMMAND_LINE}: {fixed[0]}: the weights of {label} are made for the former; "
            f"only {' and '.join(family.changeable)} can be changed"
        )
    return settings
