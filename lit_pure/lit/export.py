"""From a checkpoint to weights that can be passed on: whole, in one safetensors file, without a GPU.

Knows which tensors of a checkpoint the backbone's weights are. Knows nothing of how they were trained, nor on how many
processes.
"""

import sys
from pathlib import Path

import torch
from torch import Tensor

from lit_pure.config.compose import locate
from lit_pure.config.pure import PureExperiment
from lit_pure.families.pure.build import begin
from lit_pure.families.pure.sequence.vocabulary import Vocabulary
from lit_pure.families.pure.weights import save_pure
from lit_pure.lit.callbacks.ema import EMA
from lit_pure.lit.distributed.loading import fill, tensors
from lit_pure.lit.distributed.saving import MODEL
from lit_pure.models.next_token import NextTokenBackbone
from lit_pure.runs import folder as runs
from lit_pure.runs.folder import Run

BACKBONE = "backbone."
"""How the LightningModule calls it."""


def export(run: Run, checkpoint: Path, out: Path) -> bool:
    """Write the backbone of a PURE run's checkpoint as `save_pure` does; whether its weights are averaged.

    Weights that have an average (`optim.ema`) are replaced by it, and adapters are merged into what they stand beside.
    Everything exists once in main memory, or twice with adapters.

    Raises:
        ValueError: the checkpoint is damaged, or does not go with the run's settings.
    """
    experiment = run.experiment()
    assert isinstance(experiment, PureExperiment), "others have no backbone"
    state, averaged = _state(checkpoint)
    if experiment.adapter.kind == "none":
        vocabulary = Vocabulary.from_file(locate(experiment.vocabulary.path))
        with torch.device("meta"):
            backbone = NextTokenBackbone(experiment.backbone, vocabulary.size)
    else:
        backbone, vocabulary = begin(experiment, {"start": runs.require(run.provenance()["needs"]["start"])})
    own = backbone.state_dict()
    if experiment.adapter.kind != "none":  # what stands beside adapters is in no checkpoint
        frozen = [name for name, item in backbone.named_parameters() if not item.requires_grad]
        state |= {name: own[name] for name in frozen if name in own}
    others = own.keys() ^ state.keys() | {name for name in own.keys() & state if own[name].shape != state[name].shape}
    if others:
        raise ValueError(
            f"{checkpoint} does not go with {run.folder / 'config.yaml'} ({min(others)} is missing or has another "
            "shape); name a checkpoint in its own run's folder, and keep the vocabulary it was trained with"
        )
    save_pure(out, backbone, vocabulary, state, sys.maxsize)
    return averaged


def _state(checkpoint: Path) -> tuple[dict[str, Tensor], bool]:
    """The backbone's tensors, averages before weights; whether there are averages."""
    stored, model = tensors(checkpoint), f"{MODEL}.{BACKBONE}"
    average = f"{EMA.shards_name}.{BACKBONE}"
    sources: dict[str, str] = {}
    for prefix in (model, average):
        sources |= {name.removeprefix(prefix): name for name in stored if name.startswith(prefix)}
    found = {
        source: torch.empty(stored[source].size, dtype=stored[source].properties.dtype) for source in sources.values()
    }
    fill(checkpoint, found)
    averaged = any(source.startswith(average) for source in sources.values())
    return {name: found[source] for name, source in sources.items()}, averaged
