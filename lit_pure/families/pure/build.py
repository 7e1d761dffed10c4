"""Builds backbones and restorers: with fresh, trained or another run's weights, with or without adapters.

Knows seeds, and which of a run's weights are kept in which dtype. Knows nothing of how training proceeds.
"""

import logging
import sys
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from lit_pure.config.compose import ConfigError, differences
from lit_pure.config.dem import DemExperiment
from lit_pure.config.project import command_to_run, locate
from lit_pure.config.pure import PureExperiment
from lit_pure.families.pure.restorer import Restorer
from lit_pure.families.pure.sequence.assemble import Assembler
from lit_pure.families.pure.sequence.vocabulary import Vocabulary
from lit_pure.families.pure.start_check import NO_TOKENIZER, check_start
from lit_pure.families.pure.weights import load_pure, save_pure
from lit_pure.models import weights
from lit_pure.models.adapters import insert_adapters
from lit_pure.models.next_token import NextTokenBackbone
from lit_pure.models.precision import prepare
from lit_pure.models.vq import VQTokenizer
from lit_pure.runs import folder as runs
from lit_pure.runs.folder import Run

log = logging.getLogger(__name__)


def build_backbone(experiment: PureExperiment, needs: Mapping[str, Run]) -> tuple[NextTokenBackbone, Vocabulary]:
    """The backbone that an experiment trains, in training mode, and its vocabulary.

    Fresh weights depend only on `seed`. Weights of `needs["start"]` become float32 if all of them are trained; beneath
    adapters they are frozen and keep their stored dtype, and with `qlora` the blocks' matrices have 4 bits.

    Raises:
        ValueError: the start has another vocabulary or other sizes; adapters need a package that is missing.
    """
    if "start" in needs:
        return _start_from_run(experiment, needs["start"], needs.get("tokenizer"))
    vocabulary = Vocabulary.from_file(locate(experiment.vocabulary.path))
    with torch.random.fork_rng():
        torch.manual_seed(experiment.seed)  # independent of anything loaded or drawn before
        backbone = NextTokenBackbone(experiment.backbone, vocabulary.size)
    return backbone, vocabulary


def init_code_rows(restorer: Restorer, seed: int) -> None:
    """Initialise the rows of image codes with random projections of the tokenizer's vectors (`backbone.code_rows`)."""
    vocabulary = restorer.assembler.vocabulary
    vectors_NC = restorer.tokenizer.lookup(torch.arange(vocabulary.codes))
    restorer.backbone.init_rows_from(vocabulary.code_ids_N, vectors_NC, torch.Generator().manual_seed(seed))


def _start_from_run(
    experiment: PureExperiment, start: Run, tokenizer: Run | None
) -> tuple[NextTokenBackbone, Vocabulary]:
    check_start(start, experiment)
    theirs = start.recorded_needs().get("tokenizer")
    if tokenizer and theirs != tokenizer.label:
        log.warning(
            "%s was trained with the codes of %s, this experiment uses those of %s, which mean something else; "
            "set needs.tokenizer=%s",
            *(start.label, theirs, tokenizer.label, theirs),
        )
    stored, vocabulary = load_pure(start.weights)
    state = stored.state_dict()
    if experiment.adapter.kind == "none":
        # Copies, since training writes into them, and loaded tensors are mapped to the file.
        state = {name: item.to(torch.float32, copy=True) for name, item in state.items()}
    if experiment.backbone.lq_prior_follows and stored.head.prior_slope_D is None:
        state["head.prior_slope_D"] = torch.zeros(stored.config.width, dtype=state["head.weight"].dtype)
    backbone = weights.load_frozen(
        lambda: NextTokenBackbone(experiment.backbone, vocabulary.size), state, start.weights
    )
    backbone.requires_grad_(True).train()
    if experiment.adapter.kind != "none":
        insert_adapters(backbone, experiment.adapter, experiment.seed)
        backbone.train()
    return backbone, vocabulary


def new_restorer(experiment: PureExperiment, needs: Mapping[str, Run]) -> Restorer:
    """The restorer to train, or the trained one if the experiment only samples."""
    if "tokenizer" not in needs:
        raise ConfigError(NO_TOKENIZER)
    tokenizer = weights.load_tokenizer(needs["tokenizer"].weights)
    if "weights" in needs:
        return trained_restorer(experiment, tokenizer, needs["weights"])
    restorer = _make_restorer(experiment, tokenizer, *build_backbone(experiment, needs))
    if experiment.backbone.code_rows == "codebook" and "start" not in needs:
        init_code_rows(restorer, experiment.seed)
    return restorer


def trained_restorer(experiment: PureExperiment, tokenizer: VQTokenizer, run: Run) -> Restorer:
    """The restorer with a finished run's backbone, in the dtype of `sampling` and with the experiment's attention."""
    backbone, vocabulary = load_pure(run.weights)
    backbone.config.attention = experiment.backbone.attention
    prepare(backbone, experiment.sampling)
    return _make_restorer(experiment, tokenizer, backbone, vocabulary)


def lq_side(experiment: PureExperiment, needs: Mapping[str, Run]) -> int:
    """Side of the LQ pictures that the estimator knows [px]; warns if it was calibrated on another degradation."""
    if "dem" not in needs:
        return 0
    known = needs["dem"].experiment_as(DemExperiment)
    differing = [line for line in differences(known, experiment) if line.startswith("data.degradation.")]
    if differing and known.dem.labels == "terciles" and "weights" not in needs:
        more = f" and {len(differing) - 3} more" if len(differing) > 3 else ""
        log.warning(
            "%s was calibrated on another degradation (%s): its levels will not be equally frequent; train one "
            "for yours, for example %s with the same data.degradation, and name it in needs.dem",
            needs["dem"].label,
            "; ".join(differing[:3]) + more,
            command_to_run("dem/nano"),
        )
    return known.data.size // known.data.degradation.scale


def export(run: Run, state: dict[str, Tensor], out: Path) -> list[str]:
    """Write a checkpoint's backbone as weights of a run, with adapters merged into their matrices.

    Needs main memory for one copy of the weights, or two with adapters.

    Returns names of tensors that are missing or have another shape; if there are any, nothing is written.
    """
    experiment = run.experiment_as(PureExperiment)
    adapted = experiment.adapter.kind != "none"
    if adapted:
        backbone, vocabulary = build_backbone(experiment, {"start": runs.require(run.need("start"))})
    else:
        vocabulary = Vocabulary.from_file(locate(experiment.vocabulary.path))
        with torch.device("meta"):
            backbone = NextTokenBackbone(experiment.backbone, vocabulary.size)
    own = backbone.state_dict()
    if adapted:  # checkpoints do not contain what adapters are added to
        frozen = [name for name, item in backbone.named_parameters() if not item.requires_grad]
        state = state | {name: own[name] for name in frozen if name in own}
    differing = own.keys() ^ state.keys() | {n for n in own.keys() & state if own[n].shape != state[n].shape}
    if not differing:
        save_pure(out, backbone, vocabulary, state, sys.maxsize)
    return sorted(differing)


def _make_restorer(
    experiment: PureExperiment, tokenizer: VQTokenizer, backbone: NextTokenBackbone, vocabulary: Vocabulary
) -> Restorer:
    sequence, data = experiment.sequence, experiment.data
    assembler = Assembler(
        vocabulary, sequence.guidance_mode, tokenizer.downsample, sequence.max_caption, sequence.text_length
    )
    settings = (experiment.sampling, data.size, data.degradation.scale, experiment.restoring)
    return Restorer(tokenizer, backbone, assembler, *settings)
