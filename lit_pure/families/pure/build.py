"""The backbone that is to be trained: fresh, or another run's; all of it, or adapters beside it.

Knows seeds, and what of a run's weights is kept and in which numbers. Knows nothing of how training goes on.
"""

import logging
from collections.abc import Mapping

import torch

from lit_pure.config.compose import differences, locate
from lit_pure.config.pure import PureExperiment
from lit_pure.families.pure.restorer import Restorer
from lit_pure.families.pure.sequence.assemble import Assembler
from lit_pure.families.pure.sequence.vocabulary import Vocabulary
from lit_pure.families.pure.start_check import check_start
from lit_pure.families.pure.weights import load_pure
from lit_pure.models import weights
from lit_pure.models.adapters import insert_adapters
from lit_pure.models.next_token import NextTokenBackbone
from lit_pure.models.precision import prepare
from lit_pure.models.vq import VQTokenizer
from lit_pure.runs.folder import Run

log = logging.getLogger(__name__)


def begin(experiment: PureExperiment, needs: Mapping[str, Run]) -> tuple[NextTokenBackbone, Vocabulary]:
    """The backbone that an experiment trains, in training mode, and its vocabulary.

    Fresh weights depend on `seed` alone. Those of `needs["start"]` become float32 where all of them are trained;
    beneath adapters they keep the numbers they were stored in, frozen, and with `qlora` the blocks' matrices 4 bits.

    Raises:
        ValueError: the start has another vocabulary or other sizes; adapters need a package that is missing.
    """
    if "start" in needs:
        return _from_run(experiment, needs["start"], needs.get("tokenizer"))
    vocabulary = Vocabulary.from_file(locate(experiment.vocabulary.path))
    with torch.random.fork_rng():
        torch.manual_seed(experiment.seed)  # whatever was loaded or drawn before
        backbone = NextTokenBackbone(experiment.backbone, vocabulary.size)
    return backbone, vocabulary


def code_rows_from_codebook(restorer: Restorer, seed: int) -> None:
    """Let the rows of image codes start as random projections of the tokenizer's vectors (`backbone.code_rows`)."""
    vocabulary = restorer.assembler.vocabulary
    vectors_NC = restorer.tokenizer.lookup(torch.arange(vocabulary.codes))
    restorer.backbone.init_rows_from(vocabulary.code_ids_N, vectors_NC, torch.Generator().manual_seed(seed))


def _from_run(experiment: PureExperiment, start: Run, tokenizer: Run | None) -> tuple[NextTokenBackbone, Vocabulary]:
    check_start(start, experiment)
    theirs = start.provenance()["needs"].get("tokenizer")
    if tokenizer and theirs != tokenizer.label:
        log.warning(
            "%s was trained with the codes of %s, here are those of %s, which mean something else; "
            "set needs.tokenizer=%s",
            *(start.label, theirs, tokenizer.label, theirs),
        )
    stored, vocabulary = load_pure(start.weights)
    state = stored.state_dict()
    if experiment.adapter.kind == "none":
        # Copies, since training writes into them: what was read lies in the file.
        state = {name: item.to(torch.float32, copy=True) for name, item in state.items()}
    backbone = weights.load_frozen(
        lambda: NextTokenBackbone(experiment.backbone, vocabulary.size), state, start.weights
    )
    backbone.requires_grad_(True).train()
    if experiment.adapter.kind != "none":
        insert_adapters(backbone, experiment.adapter, experiment.seed)
        backbone.train()
    return backbone, vocabulary


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
        backbone, vocabulary = load_pure(needs["weights"].weights)
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
