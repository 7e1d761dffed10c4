"""The backbone that is to be trained: fresh, or another run's; all of it, or adapters beside it.

Knows seeds, and what of a run's weights is kept and in which numbers. Knows nothing of how training goes on.
"""

import logging
from collections.abc import Mapping

import torch

from lit_pure import weights
from lit_pure.backbone.adapters import insert
from lit_pure.backbone.next_token import NextTokenBackbone
from lit_pure.config.compose import locate
from lit_pure.config.schema import PureExperiment
from lit_pure.restore import Restorer
from lit_pure.runs import Run
from lit_pure.starting import check_start
from lit_pure.tokens.vocabulary import Vocabulary

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
    restorer.backbone.start_rows_from(vocabulary.code_ids_N, vectors_NC, torch.Generator().manual_seed(seed))


def _from_run(experiment: PureExperiment, start: Run, tokenizer: Run | None) -> tuple[NextTokenBackbone, Vocabulary]:
    check_start(start, experiment)
    theirs = start.provenance()["needs"].get("tokenizer")
    if tokenizer and theirs != tokenizer.label:
        log.warning(
            "%s was trained with the codes of %s, here are those of %s, which mean something else; "
            "set needs.tokenizer=%s",
            *(start.label, theirs, tokenizer.label, theirs),
        )
    stored, vocabulary = weights.load_pure(start.weights)
    state = stored.state_dict()
    if experiment.adapter.kind == "none":
        # Copies, since training writes into them: what was read lies in the file.
        state = {name: item.to(torch.float32, copy=True) for name, item in state.items()}
    backbone = weights.filled(lambda: NextTokenBackbone(experiment.backbone, vocabulary.size), state, start.weights)
    backbone.requires_grad_(True).train()
    if experiment.adapter.kind != "none":
        insert(backbone, experiment.adapter, experiment.seed)
        backbone.train()
    return backbone, vocabulary
