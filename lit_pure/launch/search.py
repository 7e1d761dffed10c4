"""Makes the trials of a search on this machine, one after another, each a run in its own process.

Knows trials, tasks, and what becomes of a run. Knows nothing of who chooses values (the room `search`). Imports no
torch. Several of these processes, here or on other machines, share the trials of one search.
"""

import os
import signal
import sys
from collections.abc import Callable, Sequence

from lit_pure.config.compose import ConfigError, compose
from lit_pure.launch.local import STOPPED, Processes, reason_of, stop
from lit_pure.launch.tasks import Task, find_finished
from lit_pure.runs import folder as runs
from lit_pure.runs.folder import Run
from lit_pure.runs.stop import REQUEUE_SIGNAL, requeue
from lit_pure.search.metric import value_of
from lit_pure.search.reporting import variables
from lit_pure.search.trials import Trial, Trials

FAILURES = 3
"""After so many trials in a row that failed, the search ends: what is wrong is not their values."""
REQUEUES = getattr(signal, REQUEUE_SIGNAL, None)
NOT_INHERITED = ("SLURM_NTASKS", "SLURM_NTASKS_PER_NODE")
"""A trial starts the processes of its devices itself: Lightning must not look for them among SLURM's tasks."""


def make_trials(trials: Trials, overrides: Sequence[str], report: Callable[[str], None]) -> None:
    """Make trials until there are enough.

    Args:
        trials: of the search; those that a killed process left come first.
        overrides: settings for every trial.
        report: called with a line when a trial starts, and when it ends.

    Raises:
        ValueError: three trials in a row failed; all others stand.
        Stopped: as a single training does, when a signal comes; the trial is resumed by the same command.
    """
    failures = 0
    with Processes() as processes:
        while (trial := trials.take()) is not None:
            report(f"\n[trial {trial.number + 1}] {trials.name}/{trial.label}")
            _make(trial, trials, overrides, processes)
            ended = trials.again(trial)
            report(f"[trial {trial.number + 1}] {_words(ended, trials.asked.metric)}")
            failures = failures + 1 if ended.state == "failed" else 0
            if failures == FAILURES:
                raise ValueError(f"{FAILURES} trials in a row failed, the last one: {ended.reason}")


def _make(trial: Trial, trials: Trials, overrides: Sequence[str], processes: Processes) -> None:
    """Make the run of one trial, unless it is there already, and tell how it ended."""
    try:
        task = Task(compose(f"{trials.name}/{trial.label}", overrides), tuple(overrides))
    except ConfigError as error:  # values that do not go together
        trials.fail(trial, str(error))
        return
    run = find_finished(task.experiment)
    if run is None and trial.pruned_at is None:
        own = variables(trial.number, trials.asked.metric, trials.path, task.name) if trials.asked.prunes else {}
        kept = {key: value for key, value in os.environ.items() if key not in NOT_INHERITED}
        sys.stdout.flush()
        status = processes.run(task.command, kept | own)
        if processes.received or status in STOPPED:
            if processes.received == REQUEUES and status not in STOPPED:  # else the run has done so
                requeue()
            stop(processes.received or status - 128, f"{task.name}, trial {trial.number + 1}")
        run, trial = find_finished(task.experiment), trials.again(trial)
        if status:
            trials.fail(trial, reason_of(status))
            return
    if run is not None:
        _tell(trial, trials, run)
    elif trial.pruned_at is not None:
        trials.prune(trial, next((run.label for run in reversed(runs.versions(task.name))), ""))
    else:
        trials.fail(trial, reason_of(0))


def _tell(trial: Trial, trials: Trials, run: Run) -> None:
    try:
        trials.complete(trial, value_of(run, trials.asked.metric), run.label)
    except ValueError as error:
        trials.fail(trial, str(error))


def _words(trial: Trial, metric: str) -> str:
    if trial.state == "failed":
        return f"failed: {trial.reason}"
    after = f", pruned after step {trial.pruned_at}" if trial.state == "pruned" else ""
    return f"{metric} {trial.value:.6g}{after}" if trial.value is not None else trial.state
