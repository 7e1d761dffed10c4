"""`run`: launches an experiment. Knows what is checked before torch is imported, and what is printed at the end."""

import argparse
import sys
from pathlib import Path

from lit_pure.baselines.table import BASELINES
from lit_pure.commands.parsing import Subparsers, add
from lit_pure.commands.processes import quiet_lightning
from lit_pure.config.compose import ConfigError, compose
from lit_pure.config.data import SKIMAGE, PhotosConfig
from lit_pure.config.experiment import Experiment, RestoringExperiment
from lit_pure.config.project import make_or
from lit_pure.families.table import family_of
from lit_pure.metrics.choice import choose_for_run
from lit_pure.metrics.files import MissingWeights
from lit_pure.runs import folder as runs
from lit_pure.runs import resume
from lit_pure.runs.check import refuse_debug_need, require_launchable
from lit_pure.runs.folder import Run

DEMO = "demo"
"""The experiment that needs no download."""
ORIGINS = {"bsds500": "https://www2.eecs.berkeley.edu/Research/Projects/CS/vision/grouping/resources.html"}
"""Part of a folder's name -> the page of its photographs."""
GUIDE = "docs/data.md"
"""Where published photographs come from, and how their folders are laid out."""
NAMED = 10
"""Skipped photographs, and pictures, that are printed."""


def arguments(commands: "Subparsers[argparse.ArgumentParser]") -> None:
    """Add the command."""
    command = add(commands, "run", run_command)
    command.add_argument("experiment", help="path below experiments/ without .yaml, for example demo")
    command.add_argument(
        "overrides", nargs="*", default=[], metavar="KEY=VALUE", help="for example trainer.max_steps=20"
    )


def run_command(arguments: argparse.Namespace) -> int:
    """Train and test one experiment."""
    experiment = compose(arguments.experiment, arguments.overrides)
    runs.require_writable()
    check_needs(experiment)
    _check_photographs(experiment)
    _run(experiment)
    return 0


def _run(experiment: Experiment) -> Run:
    """Run, then say where everything is."""
    from torch import distributed

    from lit_pure.lit.build import run
    from lit_pure.report.overview import comparison, text

    quiet_lightning()
    made = run(experiment, sys.argv)
    if distributed.is_available() and distributed.is_initialized() and distributed.get_rank():
        return made  # the first process prints
    debugging = experiment.trainer.debugging()
    summary = made.debugged() if debugging else made.summary()
    if "train/loss_last" in summary:
        first, last = summary["train/loss_first"], summary["train/loss_last"]
        print(f"\ntraining loss {first:.3f} -> {last:.3f} in {summary['steps']} steps")
    if "train/data_wait" in summary:
        wait, making = summary["train/data_wait"], summary["train/data_made"]
        print(f"of a step, {wait:.1%} is waiting for photographs and {making:.1%} is degrading and scoring them")
    if not debugging and any(key.startswith("test/") for key in summary):
        print(f"\n{text(comparison(made))}\n")
    for skipped in summary["skipped_photos"][:NAMED]:
        print(f"skipped: {skipped}")
    if (more := len(summary["skipped_photos"]) - NAMED) > 0:
        print(f"skipped: {more} more, named in {made.folder / 'summary.json'}")
    for picture in summary["pictures"][:NAMED]:
        print(f"picture: {picture}")
    if (more := len(summary["pictures"]) - NAMED) > 0:
        print(f"picture: {more} more in {made.folder / 'images'}")
    print(f"run:     {made.folder}")
    board = f"tensorboard --logdir {made.folder}"
    print(f"look:    {make_or(f'make board    (or: {board})', board)}")
    if debugging:
        print(f"debug:   {', '.join(debugging)}; the run never counts as finished, and can be removed")
    else:
        print(f"compare: {make_or('make report', 'lit-pure report')}")
    return made


def check_needs(experiment: Experiment, before: tuple[str, ...] = ()) -> None:
    """Refuse at once what would fail after minutes: missing weights, needs that do not exist or go in a circle."""
    needs, chain = experiment.needs, (*before, experiment.name)
    if isinstance(experiment, RestoringExperiment):
        _check_metrics(experiment)
    if experiment.name in before:
        raise ConfigError(f"needs go in a circle: {' -> '.join(chain)}; let one of them name another run")
    require_launchable(experiment)
    if needs.weights:
        runs.require(needs.weights)
        return
    runs.refuse_training(experiment)
    if not before and experiment.trainer.resume not in (resume.AUTO, resume.NEVER):
        resume.check_named(experiment)
    family_of(experiment).check(experiment)
    for need in needs.made_first().values():
        if runs.newest_finished(need) is None:
            refuse_debug_need(wanted := compose(need), experiment.name)
            check_needs(wanted, chain)


def _check_photographs(experiment: Experiment) -> None:
    """Refuse folders that are missing, also those of runs that are made first.

    Only where the run is made: a machine that submits to a cluster need not have them. `check_needs` comes before.
    """
    needs, data = experiment.needs, experiment.data
    _check_folders(experiment, {} if needs.weights else {"train": data.train, "val": data.val})
    for need in needs.made_first().values():
        if runs.newest_finished(need) is None:
            _check_photographs(compose(need))


def _check_folders(experiment: Experiment, trained_on: dict[str, PhotosConfig]) -> None:
    """Raises ConfigError with how to get what is missing, and what runs without."""
    sets = trained_on | {f"test.{name}": photos for name, photos in experiment.data.test.items()}
    for key, photos in sets.items():
        for knob, folder in (("source", photos.source), ("lq", photos.lq)):
            if folder in ("", SKIMAGE) or Path(folder).is_dir():
                continue
            page = next((page for name, page in ORIGINS.items() if name in folder), "")
            origin = f"get it from {page} ({GUIDE} has its layout)" if page else f"{GUIDE} says where it comes from"
            raise ConfigError(
                f"data.{key}.{knob} = {folder}: no such folder; {origin}, or name another one: data.{key}.{knob}=FOLDER"
                f"{_without_download(experiment)}"
            )


def _without_download(experiment: Experiment) -> str:
    """How the experiment, or where its base cannot be swapped the demo, runs on photographs that need no download."""
    try:
        swapped = compose(experiment.name, [f"base={DEMO}"]).base == DEMO
    except ConfigError:  # of another family, or the demo has it as a base
        swapped = False
    return f"; to try it without a download: base={DEMO}" if swapped else f"; `lit-pure run {DEMO}` needs no download"


def _check_metrics(experiment: RestoringExperiment) -> None:
    """Refuse what cannot be measured at the end, and baselines that cannot stand beside it."""
    for name in experiment.evaluation.baselines:
        BASELINES[name].require()
        BASELINES[name].check_scale(experiment.data.degradation.scale)
    try:
        choose_for_run(experiment)
    except MissingWeights as error:
        raise ConfigError(f"{error}; or run without it: evaluation.missing=skip") from error
