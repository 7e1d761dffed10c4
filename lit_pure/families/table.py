"""The table of families, and the questions that are asked of the family of a run or an experiment.

This is the one place that knows which families there are and which parts serve each: its experiment, restorer, weights,
LightningModule, planner and words. Everything else asks here, or the object that it holds. Knows nothing of what a part
does, and imports neither torch nor Lightning by itself. How an experiment's YAML finds its dataclass is
`config/families.py`'s.
"""

from typing import TYPE_CHECKING

from lit_pure.config.experiment import Experiment, RestoringExperiment
from lit_pure.families.dem import Dem
from lit_pure.families.family import Family, weights_run
from lit_pure.families.nsarm.family import NSARM
from lit_pure.families.pure.family import Pure
from lit_pure.families.tokenizer import BitTokenizer, Tokenizer
from lit_pure.runs.folder import Run

if TYPE_CHECKING:
    from lit_pure.restoring.contract import SquareRestorer

FAMILIES: dict[str, Family] = {
    "pure": Pure(),
    "tokenizer": Tokenizer(),
    "dem": Dem(),
    "bit_tokenizer": BitTokenizer(),
    "nsarm": NSARM(),
}


def family_of(of: Experiment | Run) -> Family:
    """The family of an experiment or a run."""
    return FAMILIES[(of.experiment() if isinstance(of, Run) else of).family]


def family_by_summary(run: Run) -> Family:
    """The family of a finished run, by its summary alone, so that a configuration of another version serves as well."""
    return FAMILIES[str(run.summary().get("family", Experiment.family))]


def require_restoring(run: Run) -> RestoringExperiment:
    """The experiment of a run that restores pictures. Raises ConfigError for any other."""
    experiment = run.experiment()
    if not isinstance(experiment, RestoringExperiment):
        raise family_of(experiment).restores_nothing(run)
    return experiment


def restorer_of(run: Run, settings: RestoringExperiment | None = None) -> "SquareRestorer":
    """The restorer of a finished run, with the weights it was trained with, or samples from.

    Args:
        run: finished.
        settings: its experiment with other settings (`settings_of`); its own without.

    Raises ValueError where its weights are damaged, ConfigError for a run that restores nothing.
    """
    settings = settings or require_restoring(run)
    return family_of(settings).restorer(weights_run(run), settings)
