"""From an experiment to a finished run: what it needs, its modules, training, test, summary.

Knows which class serves which family and the order of a run. This is the only place that switches on the family. What
is printed is up to the command line; what is logged goes through `logging`.
"""

import logging
from collections.abc import Sequence
from dataclasses import asdict, replace

import torch
from lightning import Callback, LightningModule, Trainer, seed_everything
from lightning.pytorch.callbacks import LearningRateMonitor, ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger

from lit_pure import runs, weights
from lit_pure.backbone.next_token import NextTokenBackbone
from lit_pure.config.compose import compose, differences, locate, save
from lit_pure.config.models import SamplingConfig
from lit_pure.config.schema import (
    DemExperiment,
    EvaluationConfig,
    Experiment,
    PureExperiment,
    RestoringConfig,
    TokenizerExperiment,
)
from lit_pure.lit.ar import ARModule
from lit_pure.lit.callbacks.history import LossHistory
from lit_pure.lit.callbacks.keeping import KeepPictures
from lit_pure.lit.callbacks.measures import RestorationMetrics
from lit_pure.lit.callbacks.pictures import EntropyMap, ImageGrid, TextSamples
from lit_pure.lit.callbacks.progress import Progress
from lit_pure.lit.callbacks.provenance import Provenance
from lit_pure.lit.callbacks.throughput import Throughput
from lit_pure.lit.data import DegradationPairs, DegradeAndScore, PhotoDataModule, Transform, Untouched
from lit_pure.lit.dem import DemModule
from lit_pure.lit.summary import summary
from lit_pure.lit.tokenizer import TokenizerModule
from lit_pure.metrics import files
from lit_pure.metrics.choice import of_run, without_truth
from lit_pure.metrics.rows import FILE, write_rows
from lit_pure.restore import Restorer
from lit_pure.runs import Run
from lit_pure.sampling.precision import prepare
from lit_pure.sequence.assemble import Assembler
from lit_pure.sequence.template import PERCEIVES
from lit_pure.tokens.vocabulary import Vocabulary
from lit_pure.tokens.vq import VQTokenizer

log = logging.getLogger(__name__)


def run(experiment: Experiment, command: Sequence[str]) -> Run:
    """Make what an experiment needs, train it unless it only samples, test it, write its summary.

    Raises ValueError (MissingRun for `needs.weights`) before anything is trained where something is missing, and for
    published weights, which are never trained.
    """
    runs.refuse_training(experiment)
    _tell_left_out(experiment)
    # Photographs are looked at before hours go into what is needed.
    data = PhotoDataModule(experiment.data, experiment.seed, Untouched(), trains=not experiment.needs.weights)
    needs = _provide(experiment, command)
    seed_everything(experiment.seed, workers=True, verbose=False)
    module, data.transform = _module(experiment, needs)
    loggers = _loggers(experiment)
    folder = Run(runs.ROOT / experiment.name / f"version_{loggers[0].version}")
    # Now, while the files are there that were just checked: what is deleted in the meantime costs no figure.
    scores = module.scores if isinstance(module, ARModule | TokenizerModule) else None
    identity = files.identity(scores.metrics) if scores else {}
    history, throughput = LossHistory(), Throughput(experiment.trainer.peak_flops)
    kept = _keeping(experiment, folder)
    labels = {name: need.label for name, need in needs.items()}
    facts = runs.provenance(experiment.seed, labels, data.fingerprints(), command)
    provenance = Provenance(facts, folder.folder)
    shown = _showing(experiment, module)
    trainer = _trainer(experiment, folder, loggers, [history, throughput, provenance, *shown, kept])
    if trainer.is_global_zero:
        # Before the trainer would: what fails while it sets up is explained, too.
        provenance.write(folder.folder)
        save(experiment, folder.folder / "config.yaml")
        log.info("run %s", folder.label)
    if not experiment.needs.weights:
        trainer.fit(module, data)
        if isinstance(module, DemModule):
            module.to(trainer.strategy.root_device)  # Lightning took it to the CPU when it was done
            module.calibrate(data)
        if trainer.is_global_zero:
            _save_weights(module, folder)
    if experiment.data.test:
        trainer.test(module, data, verbose=False)
    if trainer.is_global_zero:
        if scores:
            write_rows(folder.folder / FILE, scores.rows, scores.single)  # before anything that could fail
        training = {**history.row(), **throughput.row()}
        row = summary(experiment, module, data, trainer, training, kept.written, identity)
        runs.write_json(folder.folder / "summary.json", row)
    # Other processes, which may have counted this run's folder as a version before theirs, wait until it is finished.
    return Run(trainer.strategy.broadcast(folder.folder))


def _tell_left_out(experiment: Experiment) -> None:
    """Raise what `of_run` raises before hours go into a run, and say which metrics it will go without."""
    if isinstance(experiment, PureExperiment):
        choice = of_run(experiment)
        for key, reason in choice.left_out.items():
            log.warning("%s is not measured: %s", key, reason)
        if keys := without_truth(experiment, choice):
            log.warning("%s: not measured in the test, whose sets have no true pictures", ", ".join(keys))


def restorer_of(run: Run, sampling: SamplingConfig | None = None, restoring: RestoringConfig | None = None) -> Restorer:
    """The restorer of a finished PURE run, with the tokenizer it was trained with.

    `sampling` and `restoring` are the run's own where none are given. Raises ValueError for runs that restore nothing.
    """
    experiment = run.experiment()
    if not isinstance(experiment, PureExperiment):
        raise ValueError(f"{run.label} is a run of family {experiment.family}, which restores nothing; name a pure one")
    sampling, restoring = sampling or experiment.sampling, restoring or experiment.restoring
    if experiment.needs.weights:
        return restorer_of(runs.require(run.provenance()["needs"]["weights"]), sampling, restoring)
    backbone, vocabulary = weights.load_pure(run.weights)
    prepare(backbone, sampling)
    tokenizer = weights.load_tokenizer(runs.require(run.provenance()["needs"]["tokenizer"]).weights)
    return _restorer(replace(experiment, sampling=sampling, restoring=restoring), tokenizer, backbone, vocabulary)


def _provide(experiment: Experiment, command: Sequence[str]) -> dict[str, Run]:
    """The runs that an experiment builds on; tokenizer and DEM are made where they are missing, weights never."""
    wanted = {name: need for name, need in asdict(experiment.needs).items() if need}
    if "weights" in wanted:
        # Sampling uses exactly what the weights were trained with, whatever newer runs there are.
        trained = runs.require(wanted["weights"])
        _check_same_task(experiment, trained)
        frozen = {name: runs.require(need) for name, need in trained.provenance()["needs"].items()}
        log.info("sampling from the weights of %s; nothing is trained", trained.label)
        return {**frozen, "weights": trained}
    return {name: _existing_or_made(need, command) for name, need in wanted.items()}


def _check_same_task(experiment: Experiment, trained: Run) -> None:
    """What weights were trained for cannot be changed by who samples from them."""
    fixed = ("sequence.guidance_mode", "data.size", "data.degradation.scale")
    changed = [line for line in differences(trained.experiment(), experiment) if line.startswith(fixed)]
    if changed:
        raise ValueError(f"{trained.label} was trained for something else ({'; '.join(changed)}); choose other weights")


def _existing_or_made(need: str, command: Sequence[str]) -> Run:
    found = runs.newest_finished(need)
    if found is None:
        log.info("there is no finished run of %s yet: it is made first", need)
        return run(compose(need), command)
    log.info("using %s", found.label)
    # Who names a version wants that one, whatever its settings.
    if need != found.label and (changed := differences(found.experiment(), compose(need))):
        log.warning("%s was made with other settings than %s has now (%s)", found.label, need, "; ".join(changed))
    return found


def _module(experiment: Experiment, needs: dict[str, Run]) -> tuple[LightningModule, Transform]:
    """The LightningModule of an experiment, and what it wants done to a batch."""
    transform: Transform = Untouched()
    module: LightningModule
    match experiment:
        case TokenizerExperiment():
            module = TokenizerModule(experiment)
        case DemExperiment():
            module, transform = DemModule(experiment), DegradationPairs(experiment.data.degradation)
        case PureExperiment():
            dem = weights.load_dem(needs["dem"].weights) if "dem" in needs else None
            if dem is None and experiment.sequence.guidance_mode in PERCEIVES and "weights" not in needs:
                raise ValueError(f"guidance mode {experiment.sequence.guidance_mode} needs labels: set needs.dem")
            module = ARModule(experiment, _new_restorer(experiment, needs))
            transform = DegradeAndScore(experiment.data.degradation, dem, _tile(experiment, needs))
        case _:
            raise ValueError(f"family {experiment.family} cannot be run")
    return module, transform


def _tile(experiment: PureExperiment, needs: dict[str, Run]) -> int:
    """Side of the LQ pictures that the estimator knows [px]; warns where it knows another degradation."""
    if "dem" not in needs:
        return 0
    known = needs["dem"].experiment()
    others = [line for line in differences(known, experiment) if line.startswith("data.degradation.")]
    if others and "weights" not in needs:
        shown = "; ".join(others[:3]) + (f" and {len(others) - 3} more" if len(others) > 3 else "")
        log.warning(
            "%s was calibrated on another degradation (%s): labels will not come a third each; train one for yours, "
            "for example make exp NAME=dem/nano with the same data.degradation, and name it in needs.dem",
            needs["dem"].label,
            shown,
        )
    return known.data.size // known.data.degradation.scale


def _new_restorer(experiment: PureExperiment, needs: dict[str, Run]) -> Restorer:
    """The restorer to be trained, or the trained one where the experiment only samples."""
    if "tokenizer" not in needs:
        raise ValueError("needs.tokenizer names no run; a PURE experiment needs one, for example tokenizer/nano")
    tokenizer = weights.load_tokenizer(needs["tokenizer"].weights)
    if "weights" in needs:
        backbone, vocabulary = weights.load_pure(needs["weights"].weights)
        prepare(backbone, experiment.sampling)
        return _restorer(experiment, tokenizer, backbone, vocabulary)
    vocabulary = Vocabulary.from_file(locate(experiment.vocabulary.path))
    with torch.random.fork_rng():
        torch.manual_seed(experiment.seed)  # whatever was loaded or drawn before
        backbone = NextTokenBackbone(experiment.backbone, vocabulary.size)
    restorer = _restorer(experiment, tokenizer, backbone, vocabulary)
    if experiment.backbone.code_rows == "codebook":
        vectors_NC = tokenizer.lookup(torch.arange(vocabulary.codes))
        backbone.start_rows_from(vocabulary.code_ids_N, vectors_NC, torch.Generator().manual_seed(experiment.seed))
    return restorer


def _restorer(
    experiment: PureExperiment, tokenizer: VQTokenizer, backbone: NextTokenBackbone, vocabulary: Vocabulary
) -> Restorer:
    sequence, data = experiment.sequence, experiment.data
    assembler = Assembler(vocabulary, sequence.guidance_mode, tokenizer.downsample, sequence.max_caption)
    settings = (experiment.sampling, data.size, data.degradation.scale, experiment.restoring)
    return Restorer(tokenizer, backbone, assembler, *settings)


def _loggers(experiment: Experiment) -> list[Logger]:
    """TensorBoard and CSV in the same version folder."""
    board = TensorBoardLogger(runs.ROOT, name=experiment.name, default_hp_metric=False)
    return [board, CSVLogger(runs.ROOT, name=experiment.name, version=board.version, flush_logs_every_n_steps=50)]


def _keeping(experiment: Experiment, folder: Run) -> KeepPictures:
    """What the test leaves in `images/`."""
    return KeepPictures(folder.folder / "images", sorted(experiment.data.test), _evaluation(experiment).keep)


def _evaluation(experiment: Experiment) -> EvaluationConfig:
    return experiment.evaluation if isinstance(experiment, PureExperiment) else EvaluationConfig()


def _showing(experiment: Experiment, module: LightningModule) -> list[Callback]:
    """What is to be seen while it runs. Only the backbone answers; a tokenizer measures its own reconstructions."""
    sets, keep = sorted(experiment.data.test), _evaluation(experiment).keep
    shown: list[Callback] = [ImageGrid(sets, keep)]
    if isinstance(module, ARModule):
        scores = module.scores
        shown += [EntropyMap(sets, keep=keep), TextSamples(sets, keep)]
        shown += [RestorationMetrics(scores.single, stages=["val"], border=scores.border, scorers=scores.scorers)]
    return shown


def _trainer(experiment: Experiment, folder: Run, loggers: list[Logger], ours: list[Callback]) -> Trainer:
    config = experiment.trainer
    checkpoints = ModelCheckpoint(folder.folder / "checkpoints", save_last="link", every_n_train_steps=config.val_every)
    return Trainer(
        max_steps=config.max_steps,
        val_check_interval=config.val_every * config.accumulate,
        check_val_every_n_epoch=None,
        log_every_n_steps=config.log_every,
        accumulate_grad_batches=config.accumulate,
        gradient_clip_val=config.gradient_clip or None,
        accelerator=config.accelerator,
        devices=config.devices,
        num_nodes=config.num_nodes,
        strategy=config.strategy,
        precision=config.precision,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
        enable_model_summary=False,
        logger=loggers,
        callbacks=[checkpoints, LearningRateMonitor("step"), Progress(), *ours],
    )


def _save_weights(module: LightningModule, folder: Run) -> None:
    match module:
        case TokenizerModule():
            weights.save_tokenizer(folder.weights, module.tokenizer)
        case DemModule():
            weights.save_dem(folder.weights, module.dem)
        case ARModule():
            weights.save_pure(folder.weights, module.backbone, module.restorer.assembler.vocabulary)
