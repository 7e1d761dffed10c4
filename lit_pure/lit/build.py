"""From an experiment to a finished run: its folder, what it needs, training, test, summary.

Knows the order of these steps. Knows no family. It logs through `logging`; only the command line prints.
"""

import logging
from collections.abc import Sequence
from contextlib import ExitStack, nullcontext
from pathlib import Path

from lightning import seed_everything

from lit_pure.config.compose import save
from lit_pure.config.experiment import Experiment, RestoringExperiment
from lit_pure.files.atomic import write_json
from lit_pure.lit.board import log_hyperparameters
from lit_pure.lit.data import Identity, PhotoDataModule
from lit_pure.lit.distributed.processes import Decision, agree_on
from lit_pure.lit.flags import total_steps
from lit_pure.lit.loggers import close
from lit_pure.lit.modules import build_module
from lit_pure.lit.needs import provide
from lit_pure.lit.own_callbacks import make_callbacks
from lit_pure.lit.run_module import RunModule
from lit_pure.lit.summary import summary
from lit_pure.lit.trainer import RunTrainer, make_trainer
from lit_pure.metrics import files
from lit_pure.metrics.choice import choose_for_run, metrics_without_truth
from lit_pure.metrics.rows import FILE, write_rows
from lit_pure.runs import folder as runs
from lit_pure.runs import resume
from lit_pure.runs.check import require_launchable
from lit_pure.runs.folder import Run
from lit_pure.runs.resume import RunPoint

log = logging.getLogger(__name__)

LENGTH = "max_steps"
"""In the provenance of a run with `max_epochs`: its optimizer steps."""


def run(experiment: Experiment, command: Sequence[str]) -> Run:
    """Make what an experiment needs, train it unless it only samples, test it, write its summary.

    A training that was stopped resumes from its newest complete checkpoint (`trainer.resume`).

    Raises ValueError before anything is trained: MissingRun where `needs.weights` has no run, and for published
    weights, which are never trained.
    """
    runs.refuse_training(experiment)
    require_launchable(experiment)
    own = make_callbacks(experiment.trainer.called())
    _log_left_out(experiment)
    with ExitStack() as locks:
        point = _find_run(experiment, locks)
        # Photographs are checked before hours go into what is needed.
        data = PhotoDataModule(experiment.data, experiment.seed, Identity(), trains=not experiment.needs.weights)
        pinned = Run(point.folder).recorded_needs() if point else {}
        needs = provide(experiment, command, run, pinned)
        seed_everything(experiment.seed, workers=True, verbose=False)
        module, data.transform = build_module(experiment, needs)
        point = point or _start_run(experiment, locks)
        labels = {name: need.label for name, need in needs.items()}
        facts = runs.provenance(experiment.seed, labels, data.fingerprints(), command)
        # Read now, while the files exist that were just checked: one that is deleted meanwhile costs no figure.
        scores = module.scores
        identity = files.identity(scores.metrics) if scores else {}
        made = make_trainer(experiment, module, point, resume.provenance(point, facts), own)
        trainer, folder = made.trainer, Run(point.folder)
        locks.callback(close, trainer.loggers)
        _set_length(experiment, data, made, point)
        made.provenance.facts |= module.computing(trainer.strategy.root_device)
        if trainer.is_global_zero:
            # Before the trainer would: a failure while it sets up is explained, too.
            made.provenance.write(folder.folder)
            save(experiment, folder.folder / "config.yaml")
            log.info("run %s%s", folder.label, f", resumed from step {point.step}" if point.checkpoint else "")
            if knobs := experiment.trainer.debugging():
                log.info("debug run (%s): it never counts as finished, and is never resumed", ", ".join(knobs))
        if not experiment.needs.weights:
            _train(module, data, made, point)
        if experiment.data.test:
            trainer.test(module, data, verbose=False)
        if trainer.is_global_zero:
            if scores:
                write_rows(folder.folder / FILE, scores.rows, scores.single)  # before anything that could fail
            row = summary(experiment, module, data, trainer, made.training_row(), made.saved.written, identity)
            if experiment.trainer.debugging():
                write_json(folder.folder / f"{runs.DEBUG}.json", row)
            else:
                write_json(folder.folder / "summary.json", row)
                log_hyperparameters(trainer.loggers, experiment, row, trainer.global_step, folder.label)
        trainer.strategy.barrier()  # the other processes wait until it is finished
    return folder


def _find_run(experiment: Experiment, locks: ExitStack) -> RunPoint | None:
    """The run to resume, the same on all processes."""

    def decide() -> Decision:
        point = resume.find_run(experiment, locks)
        if point is None:
            return {}
        return {"folder": str(point.folder), "checkpoint": str(point.checkpoint), "step": str(point.step)}

    agreed = agree_on(f"found {experiment.name}", experiment.trainer, decide)
    return RunPoint(Path(agreed["folder"]), Path(agreed["checkpoint"]), int(agreed["step"])) if agreed else None


def _start_run(experiment: Experiment, locks: ExitStack) -> RunPoint:
    """A new run's folder, the same on all processes."""

    def decide() -> Decision:
        return {"folder": str(resume.start_run(experiment, locks).folder)}

    return RunPoint(Path(agree_on(f"begun {experiment.name}", experiment.trainer, decide)["folder"]))


def _train(module: RunModule, data: PhotoDataModule, made: RunTrainer, point: RunPoint) -> None:
    """Train, and save the weights: averaged ones where there are any."""
    trainer = made.trainer
    # Our strategies read the checkpoint; they load nothing but tensors, numbers and words.
    trainer.fit(module, data, ckpt_path=point.checkpoint)
    with made.averaging.swapped() if made.averaging else nullcontext():
        module.finish_training(data)
        module.save_weights(Run(point.folder).weights, trainer.is_global_zero)


def _set_length(experiment: Experiment, data: PhotoDataModule, made: RunTrainer, point: RunPoint) -> None:
    """Let the Trainer end after `max_epochs`, as the first launch of the run counted them, on however many processes.

    Learning rates come down over as many steps.
    """
    if not experiment.trainer.max_epochs or experiment.needs.weights or experiment.trainer.fast_dev_run:
        return
    facts, trainer = made.provenance.facts, made.trainer
    if LENGTH not in facts:
        facts[LENGTH] = total_steps(experiment, len(data.train), trainer.world_size)
    trainer.fit_loop.epoch_loop.max_steps = int(facts[LENGTH])


def _log_left_out(experiment: Experiment) -> None:
    """Raise what `choose_for_run` raises before hours go into a run, and log which metrics are not measured."""
    if isinstance(experiment, RestoringExperiment):
        choice = choose_for_run(experiment)
        for key, reason in choice.left_out.items():
            log.warning("%s is not measured: %s", key, reason)
        if keys := metrics_without_truth(experiment, choice):
            log.warning("%s: not measured in the test, whose sets have no true pictures", ", ".join(keys))
