"""What a training tells its search: each validation; and what it learns from it: whether to go on.

Knows the variable by which a process learns that it makes a trial, and Optuna's pruner. Knows nothing of trainings.
Imports no torch.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from lit_pure.search.storage import open_storage
from lit_pure.search.trials import PRUNED_AT, STUDY

if TYPE_CHECKING:
    import optuna

VARIABLE = "LIT_PURE_TRIAL"
"""NUMBER:METRIC:FILE:EXPERIMENT, for the process that makes a trial of this experiment."""


@dataclass(frozen=True)
class Reporting:
    """One trial, as the process sees it that trains."""

    number: int
    metric: str
    file: Path
    """Of the search."""

    @cached_property
    def _study(self) -> "optuna.Study":
        storage = open_storage(self.file)
        import optuna

        return optuna.load_study(study_name=STUDY, storage=storage, pruner=optuna.pruners.MedianPruner())

    def worse(self, step: int, value: float) -> bool:
        """Report a validation. Whether it is worse than the median of earlier trials at this step.

        The first five finished trials are pruned never. A step that a resumed training validates again keeps its value.
        """
        found = self._study.get_trials(deepcopy=False)[self.number]
        if step not in found.intermediate_values:
            self._study._storage.set_trial_intermediate_value(found._trial_id, step, value)
        now = self._study.get_trials(deepcopy=False)[self.number]
        return self._study.pruner.prune(self._study, now)

    def prune(self, step: int) -> None:
        """Note that this trial ends here."""
        found = self._study.get_trials(deepcopy=False)[self.number]
        self._study._storage.set_trial_user_attr(found._trial_id, PRUNED_AT, step)


def variables(number: int, metric: str, file: Path, experiment: str) -> dict[str, str]:
    """The environment of a process that makes a trial."""
    return {VARIABLE: f"{number}:{metric}:{file}:{experiment}"}


def reporting_of(experiment: str, environment: Mapping[str, str] = os.environ) -> Reporting | None:
    """The trial that this process makes of an experiment; None for others, such as what a trial needs."""
    number, _, rest = environment.get(VARIABLE, "").partition(":")
    metric, _, rest = rest.partition(":")
    file, _, name = rest.partition(":")
    return Reporting(int(number), metric, Path(file)) if name == experiment and number else None
