"""What `sweep` does with an experiment that has a `search:`, and what it and `report` say of its trials.

Knows what is printed. Knows nothing of who chooses values (`search`) and how runs are made (`launch`).
"""

from collections.abc import Sequence
from contextlib import closing

from lit_pure.commands.parsing import say
from lit_pure.commands.run import check_needs
from lit_pure.config.compose import COMMAND_LINE, ConfigError, compose, search_of
from lit_pure.config.experiment import Experiment
from lit_pure.config.search import VALIDATED, SearchConfig
from lit_pure.launch.local import make_runs
from lit_pure.launch.tasks import Task, Worker, missing_needs
from lit_pure.runs import folder as runs
from lit_pure.runs.folder import Run
from lit_pure.search.storage import DATABASE, file_of, folder_of, require_optuna
from lit_pure.search.trials import Trial, Trials, best, read_trials

BEST = 5
"""Trials whose runs are compared at the end."""
LONGER = 4
"""How many times as long the best one is proposed to be trained."""


def checked_search(name: str, overrides: Sequence[str]) -> tuple[SearchConfig, Experiment]:
    """A search, and the settings that its trials share. Raises ConfigError for every mistake that can be known."""
    asked = search_of(name, overrides)
    if twice := [item for item in overrides if item.partition("=")[0] in {axis.key for axis in asked.space}]:
        raise ConfigError(f"{COMMAND_LINE}: {twice[0]} is what {name}.yaml searches; change its search: instead")
    require_optuna()
    experiment = compose(name, overrides)
    check_needs(experiment)
    if experiment.needs.weights and asked.metric.startswith(VALIDATED):
        raise ConfigError(
            f"{name}: search: metric = {asked.metric}: its trials train nothing, so nothing is validated; "
            "take a figure of the test, for example test/demo/psnr"
        )
    if debugging := experiment.trainer.debugging():
        raise ConfigError(f"{name}: {debugging[0]} is for debugging, and such a run is no trial; leave it out")
    if asked.metric.startswith(VALIDATED) and "csv" not in experiment.trainer.loggers:
        raise ConfigError(f"{name}: search: metric = {asked.metric} is read from curves; add csv to trainer.loggers")
    return asked, experiment


def search_here(name: str, overrides: Sequence[str], dry_run: bool) -> int:
    """Make the trials of a search on this machine, then compare the best ones."""
    asked, experiment = checked_search(name, overrides)
    needs, _ = missing_needs([Task(experiment, tuple(overrides))])
    if dry_run:
        _say_plan(name, asked, needs)
        return 0
    _, failed = make_runs(needs, say)
    if failed:
        raise ValueError("; ".join(f"{need} failed ({reason})" for need, reason in failed.items()))
    from lit_pure.launch.search import make_trials

    with closing(Trials(name, asked, experiment)) as trials:
        try:
            make_trials(trials, overrides, say)
        finally:
            rows = trials.rows()
            if any(trial.state == "complete" for trial in rows):
                _conclude(name, asked, rows, experiment, overrides)
    return 0


def begin_elsewhere(name: str, overrides: Sequence[str], count: int, dry_run: bool) -> tuple[list[Task], Worker]:
    """What `count` workers on a cluster need, and one of them; the file for their trials is made.

    Raises ConfigError for every mistake that can be known, and for a file that several cannot share.
    """
    asked, experiment = checked_search(name, overrides)
    if count > 1 and (path := file_of(name)) and path.name == DATABASE:
        raise ConfigError(
            f"{path} is SQLite, which workers on several nodes cannot share; go on with it on one machine "
            f"(lit-pure sweep {name}), or move {folder_of(name)} away to begin anew"
        )
    needs, _ = missing_needs([Task(experiment, tuple(overrides))])
    if not dry_run:
        Trials(name, asked, experiment, journal=True).close()
    return needs, Worker(experiment, tuple(overrides), tuple(need.name for need in needs))


def has_trials(name: str) -> bool:
    """Whether a name is that of a search that has begun."""
    return file_of(name.rstrip("/").removeprefix(f"{runs.ROOT}/")) is not None


def trials_of(name: str) -> tuple[str, list[Run]]:
    """The table of a search's trials as text, and the runs of its best ones. Raises ConfigError."""
    from lit_pure.report.render import render
    from lit_pure.report.search import trials_table

    name = name.rstrip("/").removeprefix(f"{runs.ROOT}/")
    asked, rows = search_of(name), read_trials(name)
    return render(trials_table(name, asked, rows), "terminal"), best_runs(rows, asked)


def best_runs(trials: list[Trial], asked: SearchConfig) -> list[Run]:
    """The runs of the best trials that are still there, the best one first."""
    labels = dict.fromkeys(trial.run for trial in best(trials, asked, BEST))
    return [run for label in labels if (run := Run(runs.ROOT / label)).finished]


def _conclude(
    name: str, asked: SearchConfig, rows: list[Trial], experiment: Experiment, overrides: Sequence[str]
) -> None:
    """Say what was found, and how to go on."""
    from lit_pure.commands.report import overview_text
    from lit_pure.report.render import render
    from lit_pure.report.search import trials_table

    say(f"\n{render(trials_table(name, asked, rows), 'terminal')}")
    if found := best_runs(rows, asked):
        say(overview_text(found).rstrip())
    if others := sum(trial.state == "running" for trial in rows):
        say(f"{others} more: other processes have them, or they were stopped")
    [first] = best(rows, asked, 1)
    more = list(overrides)
    if not experiment.needs.weights:
        more = [item for item in more if not item.startswith("trainer.max_steps=")]
        more.append(f"trainer.max_steps={LONGER * experiment.trainer.max_steps}")
    task = Task(compose(f"{name}/{first.label}", more), tuple(more))
    say(f"\nbest:    trial {first.number + 1}, {asked.metric} {first.value:.6g}")
    say(f"longer:  {task.shown}" if not experiment.needs.weights else f"again:   {task.shown}")
    say(f"look:    lit-pure report {name}    (or notebooks/compare_runs.ipynb)")


def _say_plan(name: str, asked: SearchConfig, needs: Sequence[Task]) -> None:
    for task in needs:
        say(task.shown)
    path = file_of(name)
    rows = read_trials(name) if path else []
    done = sum(trial.state in ("complete", "pruned") for trial in rows)
    say(f"# {asked.direction} {asked.metric} in {asked.trials} trials, of which {done} are done; {folder_of(name)}")
    for axis in asked.space:
        say(f"#   {axis.key}: {axis.words}")
    for trial in rows:
        if trial.state == "running":
            say(f"# to be resumed: lit-pure run {name}/{trial.label}")
