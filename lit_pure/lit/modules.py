"""From an experiment and the runs it builds on to its modules.

Knows which class serves which family: this is the only place that switches on it. Knows nothing of how one is trained.
"""

import logging
from dataclasses import replace

from lightning import LightningModule

from lit_pure import runs, weights
from lit_pure.backbone.next_token import NextTokenBackbone
from lit_pure.config.compose import differences
from lit_pure.config.models import SamplingConfig
from lit_pure.config.schema import (
    DemExperiment,
    Experiment,
    PureExperiment,
    RestoringConfig,
    TokenizerExperiment,
)
from lit_pure.lit.ar import ARModule
from lit_pure.lit.data import DegradationPairs, DegradeAndScore, Transform, Untouched
from lit_pure.lit.dem import DemModule
from lit_pure.lit.start import begin, code_rows_from_codebook
from lit_pure.lit.tokenizer import TokenizerModule
from lit_pure.restore import Restorer
from lit_pure.runs import Run
from lit_pure.sampling.precision import prepare
from lit_pure.sequence.assemble import Assembler
from lit_pure.sequence.template import PERCEIVES
from lit_pure.tokens.vocabulary import Vocabulary
from lit_pure.tokens.vq import VQTokenizer

log = logging.getLogger(__name__)


def made_module(experiment: Experiment, needs: dict[str, Run]) -> tuple[LightningModule, Transform]:
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
    restorer = _restorer(experiment, tokenizer, *begin(experiment, needs))
    if experiment.backbone.code_rows == "codebook" and "start" not in needs:
        code_rows_from_codebook(restorer, experiment.seed)
    return restorer


def _restorer(
    experiment: PureExperiment, tokenizer: VQTokenizer, backbone: NextTokenBackbone, vocabulary: Vocabulary
) -> Restorer:
    sequence, data = experiment.sequence, experiment.data
    assembler = Assembler(
        vocabulary, sequence.guidance_mode, tokenizer.downsample, sequence.max_caption, sequence.text_length
    )
    settings = (experiment.sampling, data.size, data.degradation.scale, experiment.restoring)
    return Restorer(tokenizer, backbone, assembler, *settings)


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
