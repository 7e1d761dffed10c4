"""The trials of a search: which comes next, how each one ended, what all of them found.

Knows Optuna's samplers and states. Knows nothing of how a run is made (`launch/search.py`), or of how a training
reports what it validates (`reporting.py`). Imports no torch.

A search that was killed is the search that it would have been: the sampler of each trial has a seed of its own, made of
the search's and of how many trials there were, and sees nothing but the storage.
"""

import json
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from omegaconf import OmegaConf

from lit_pure.config.compose import ConfigError
from lit_pure.config.experiment import Experiment
from lit_pure.config.layers import flat
from lit_pure.config.search import Axis, SearchConfig, Value
from lit_pure.runs.resume import ELSEWHERE
from lit_pure.search.storage import DATABASE, JOURNAL, Locks, file_of, folder_of, open_storage

if TYPE_CHECKING:
    import optuna
    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial

State = Literal["running", "complete", "pruned", "failed"]
STUDY = "search"
"""The name of the only study in a file."""
LABEL, RUN, REASON, PRUNED_AT = "label", "run", "reason", "pruned at step"
"""What is noted of a trial: its name, its run folder, why it failed, the step after which it was pruned."""
SETTINGS, ASKED = "settings", "asked"
"""What is noted of a search: the settings that its trials share, and what its file asks for."""


@dataclass(frozen=True)
class Trial:
    """One trial."""

    number: int
    label: str
    """The end of its run's name."""
    state: State
    values: Mapping[str, Value]
    """By dotted key, before they were rounded for the name."""
    value: float | None = None
    """Of the metric; of a pruned one the last that was validated. None without any."""
    steps: Mapping[int, float] | None = None
    """What was validated, by optimizer step."""
    run: str = ""
    """The label of its run; "" where it has none yet."""
    reason: str = ""
    """Why it failed."""
    pruned_at: int | None = None
    """The step after which it was pruned."""


class Trials:
    """The trials of a search, in the file of its folder; several processes may work on them."""

    def __init__(self, name: str, asked: SearchConfig, experiment: Experiment, journal: bool = False) -> None:
        """
        Args:
            name: of the search.
            asked: what its file says.
            experiment: with the settings that all trials share.
            journal: whether a new search is for processes on several machines.

        Raises:
            ConfigError: the file has trials of another space, metric, seed, or of other settings.
        """
        self.name, self.asked, self._locks = name, asked, Locks(folder_of(name))
        with ExitStack() as opened:
            opened.callback(self.close)
            self._begin(_identity(asked), _shared_settings(experiment, asked), journal)
            opened.pop_all()

    def close(self) -> None:
        """Leave what is unfinished to others."""
        self._locks.close()

    def take(self) -> Trial | None:
        """The next trial, for this process alone: one that a killed process left, else a new one; None after the last.

        Trials that failed do not count.
        """
        import optuna

        with self._locks.alone():
            kept = []
            for found in self._study.get_trials(deepcopy=False):
                if found.state == optuna.trial.TrialState.FAIL:
                    continue
                if LABEL not in found.user_attrs:  # its process was killed before it had all its values
                    self._study.tell(found.number, state=optuna.trial.TrialState.FAIL)
                    continue
                kept.append(found)
                if not found.state.is_finished() and self._locks.take(found.number):
                    return _trial(found)
            return self._ask() if len(kept) < self.asked.trials else None

    def complete(self, trial: Trial, value: float, run: str) -> None:
        """A trial is finished."""
        self._note(trial, RUN, run)
        self._study.tell(trial.number, value, skip_if_finished=True)
        self._locks.release(trial.number)

    def prune(self, trial: Trial, run: str) -> None:
        """A trial was pruned; its last validation counts."""
        from optuna.trial import TrialState

        self._note(trial, RUN, run)
        self._study.tell(trial.number, state=TrialState.PRUNED, skip_if_finished=True)
        self._locks.release(trial.number)

    def fail(self, trial: Trial, reason: str) -> None:
        """A trial has no value."""
        from optuna.trial import TrialState

        self._note(trial, REASON, reason)
        self._study.tell(trial.number, state=TrialState.FAIL, skip_if_finished=True)
        self._locks.release(trial.number)

    def again(self, trial: Trial) -> Trial:
        """A trial as it is now."""
        return _trial(self._study.get_trials(deepcopy=False)[trial.number])

    def rows(self) -> list[Trial]:
        """All trials in their order."""
        return _rows(self._study)

    def _begin(self, asked: dict[str, Any], settings: dict[str, Any], journal: bool) -> None:
        """Open the file, or make it."""
        with self._locks.alone():
            self.path = file_of(self.name) or folder_of(self.name) / (JOURNAL if journal else DATABASE)
            self._storage = open_storage(self.path)
            import optuna

            self._study = optuna.create_study(
                storage=self._storage, study_name=STUDY, direction=self.asked.direction, load_if_exists=True
            )
            if ASKED not in self._study.user_attrs:  # new, or its process was killed here
                self._study.set_user_attr(SETTINGS, settings)
                self._study.set_user_attr(ASKED, asked)
        before, now = self._study.user_attrs[ASKED] | self._study.user_attrs[SETTINGS], asked | settings
        if differing := [key for key in sorted(before.keys() & now.keys()) if before[key] != now[key]]:
            shown = "; ".join(f"{key}: {before[key]} -> {now[key]}" for key in differing[:3])
            raise ConfigError(f"{self.path} has trials of another search ({shown}); take its settings, or move it away")

    def _ask(self) -> Trial:
        """A new trial with its values. Nobody else is asking."""
        import numpy as np
        from optuna.samplers import TPESampler

        asked = sum(LABEL in found.user_attrs for found in self._study.get_trials(deepcopy=False))
        seed = int(np.random.SeedSequence([self.asked.seed, asked]).generate_state(1)[0])
        self._study.sampler = TPESampler(seed=seed)
        new = self._study.ask({axis.key: _distribution(axis) for axis in self.asked.space})
        self._locks.take(new.number)
        new.set_user_attr(LABEL, self.asked.label(new.params))
        return _trial(self._study.get_trials(deepcopy=False)[new.number])

    def _note(self, trial: Trial, key: str, words: str) -> None:
        found = self._study.get_trials(deepcopy=False)[trial.number]
        if not found.state.is_finished():
            self._storage.set_trial_user_attr(found._trial_id, key, words)


def read_trials(name: str) -> list[Trial]:
    """The trials of a search in their order; none where it has not begun. Raises ConfigError without Optuna."""
    path = file_of(name)
    return _rows(open_study(path)) if path else []


def open_study(path: Path) -> "optuna.Study":
    """The study in the file of a search that has begun."""
    storage = open_storage(path)
    import optuna

    return optuna.load_study(study_name=STUDY, storage=storage)


def best(trials: list[Trial], asked: SearchConfig, count: int) -> list[Trial]:
    """The best finished trials, the best one first; of equal ones the first."""
    sign = 1 if asked.direction == "minimize" else -1
    known = [
        (sign * trial.value, trial.number) for trial in trials if trial.state == "complete" and trial.value is not None
    ]
    return [trials[number] for _, number in sorted(known)[:count]]


def _rows(study: "optuna.Study") -> list[Trial]:
    return [_trial(found) for found in study.get_trials(deepcopy=False)]


def _trial(found: "FrozenTrial") -> Trial:
    from optuna.trial import TrialState

    states: dict[TrialState, State] = {
        TrialState.COMPLETE: "complete", TrialState.PRUNED: "pruned", TrialState.FAIL: "failed",
    }  # fmt: skip
    noted = found.user_attrs
    return Trial(
        number=found.number,
        label=noted.get(LABEL, ""),
        state=states.get(found.state, "running"),
        values=found.params,
        value=found.value,
        steps=found.intermediate_values,
        run=noted.get(RUN, ""),
        reason=noted.get(REASON, "killed before it had its values" if LABEL not in noted else ""),
        pruned_at=noted.get(PRUNED_AT),
    )


def _distribution(axis: Axis) -> "BaseDistribution":
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if axis.choices is not None:
        return CategoricalDistribution(list(axis.choices))
    if axis.whole:
        return IntDistribution(int(axis.low), int(axis.high), log=axis.log)
    return FloatDistribution(axis.low, axis.high, log=axis.log)


def _identity(asked: SearchConfig) -> dict[str, Any]:
    """What makes trials comparable; more trials may be asked for, and pruning changes none of their values."""
    space = {axis.key: axis.words for axis in asked.space}
    return {"space": space, "metric": asked.metric, "direction": asked.direction, "search.seed": asked.seed}


def _shared_settings(experiment: Experiment, asked: SearchConfig) -> dict[str, Any]:
    varied = {"name", "base", *(axis.key for axis in asked.space), *ELSEWHERE}
    settings = flat(OmegaConf.to_container(OmegaConf.structured(experiment)), "")
    shared = {key: value for key, value in settings if key not in varied}
    plain: dict[str, Any] = json.loads(json.dumps(shared))  # as it comes back: tuples are lists
    return plain
