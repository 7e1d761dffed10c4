"""From an experiment to a finished run: where it stands, what it needs, training, test, summary.

Knows the order of a run. What is printed is up to the command line; what is logged goes through `logging`.
"""

import logging
from collections.abc import Sequence
from contextlib import ExitStack, nullcontext
from pathlib import Path

from lightning import seed_everything

from lit_pure.config.compose import save
from lit_pure.config.experiment import Experiment, RestoringExperiment
from lit_pure.files.atomic import write_json
from lit_pure.lit.data import PhotoDataModule, Untouched
from lit_pure.lit.distributed.processes import Decision, agreed
from lit_pure.lit.modules import build_module
from lit_pure.lit.needs import provide
from lit_pure.lit.run_module import RunModule
from lit_pure.lit.summary import summary
from lit_pure.lit.trainer import Watched, watched
from lit_pure.metrics import files
from lit_pure.metrics.choice import choose_for_run, metrics_without_truth
from lit_pure.metrics.rows import FILE, write_rows
from lit_pure.runs import folder as runs
from lit_pure.runs import resume
from lit_pure.runs.folder import Run
from lit_pure.runs.resume import Place

log = logging.getLogger(__name__)


def run(experiment: Experiment, command: Sequence[str]) -> Run:
    """Make what an experiment needs, train it unless it only samples, test it, write its summary.

    A training that was stopped goes on where its newest complete checkpoint was written (`trainer.resume`).

    Raises ValueError (MissingRun for `needs.weights`) before anything is trained where something is missing, and for
    published weights, which are never trained.
    """
    runs.refuse_training(experiment)
    _tell_left_out(experiment)
    with ExitStack() as held:
        place = _found(experiment, held)
        # Photographs are looked at before hours go into what is needed.
        data = PhotoDataModule(experiment.data, experiment.seed, Untouched(), trains=not experiment.needs.weights)
        pinned = Run(place.folder).provenance()["needs"] if place else {}
        needs = provide(experiment, command, run, pinned)
        seed_everything(experiment.seed, workers=True, verbose=False)
        module, data.transform = build_module(experiment, needs)
        place = place or _begun(experiment, held)
        labels = {name: need.label for name, need in needs.items()}
        facts = runs.provenance(experiment.seed, labels, data.fingerprints(), command)
        # Asked now, while the files are there that were just checked: what is deleted meanwhile costs no figure.
        scores = module.scores
        identity = files.identity(scores.metrics) if scores else {}
        made = watched(experiment, module, place, resume.facts(place, facts))
        trainer, folder = made.trainer, Run(place.folder)
        if trainer.is_global_zero:
            # Before the trainer would: what fails while it sets up is explained, too.
            made.provenance.write(folder.folder)
            save(experiment, folder.folder / "config.yaml")
            log.info("run %s%s", folder.label, f", on from step {place.step}" if place.checkpoint else "")
        if not experiment.needs.weights:
            _train(module, data, made, place)
        if experiment.data.test:
            trainer.test(module, data, verbose=False)
        if trainer.is_global_zero:
            if scores:
                write_rows(folder.folder / FILE, scores.rows, scores.single)  # before anything that could fail
            row = summary(experiment, module, data, trainer, made.training(), made.kept.written, identity)
            write_json(folder.folder / "summary.json", row)
        trainer.strategy.barrier()  # the others wait until it is finished
    return folder


def _found(experiment: Experiment, held: ExitStack) -> Place | None:
    """The run to go on with, the same on all processes."""

    def decide() -> Decision:
        place = resume.found(experiment, held)
        if place is None:
            return {}
        return {"folder": str(place.folder), "checkpoint": str(place.checkpoint), "step": str(place.step)}

    told = agreed(f"found {experiment.name}", experiment.trainer, decide)
    return Place(Path(told["folder"]), Path(told["checkpoint"]), int(told["step"])) if told else None


def _begun(experiment: Experiment, held: ExitStack) -> Place:
    """A new run's folder, the same on all processes."""

    def decide() -> Decision:
        return {"folder": str(resume.begun(experiment, held).folder)}

    return Place(Path(agreed(f"begun {experiment.name}", experiment.trainer, decide)["folder"]))


def _train(module: RunModule, data: PhotoDataModule, made: Watched, place: Place) -> None:
    """Train, and keep the weights: averaged ones where there are."""
    trainer = made.trainer
    # Read by our strategies, which load nothing but tensors, numbers and words.
    trainer.fit(module, data, ckpt_path=place.checkpoint)
    with made.averaging.swapped() if made.averaging else nullcontext():
        module.finish_training(data)
        module.save_weights(Run(place.folder).weights, trainer.is_global_zero)


def _tell_left_out(experiment: Experiment) -> None:
    """Raise what `choose_for_run` raises before hours go into a run, and say which metrics it will go without."""
    if isinstance(experiment, RestoringExperiment):
        choice = choose_for_run(experiment)
        for key, reason in choice.left_out.items():
            log.warning("%s is not measured: %s", key, reason)
        if keys := metrics_without_truth(experiment, choice):
            log.warning("%s: not measured in the test, whose sets have no true pictures", ", ".join(keys))
