"""From a checkpoint to weights that can be passed on: whole, in one safetensors file, without a GPU.

Knows which tensors of a checkpoint are those of the trained network. Knows nothing of how they were trained, nor on how
many processes; what is written of them is the family's.
"""

from pathlib import Path

import torch
from torch import Tensor

from lit_pure.families.table import family_of
from lit_pure.lit.callbacks.ema import EMA
from lit_pure.lit.distributed.loading import fill, tensors
from lit_pure.lit.distributed.saving import MODEL
from lit_pure.runs.folder import Run


def export(run: Run, checkpoint: Path, out: Path) -> bool:
    """Write the trained network of a run's checkpoint as the run itself would; whether its weights are averaged.

    Weights that have an average (`optim.ema`) are replaced by it, and adapters are merged into what they stand beside.

    Raises:
        ValueError: the checkpoint is damaged, or does not go with the run's settings.
    """
    family = family_of(run)
    state, averaged = _state(checkpoint, f"{family.trained}.")
    if differing := family.export(run, state, out):
        raise ValueError(
            f"{checkpoint} does not go with {run.folder / 'config.yaml'} ({differing[0]} is missing or has another "
            "shape); name a checkpoint in its own run's folder, and keep the vocabulary it was trained with"
        )
    return averaged


def _state(checkpoint: Path, network: str) -> tuple[dict[str, Tensor], bool]:
    """The network's tensors, averages before weights; whether there are averages."""
    stored, model = tensors(checkpoint), f"{MODEL}.{network}"
    average = f"{EMA.shards_name}.{network}"
    sources: dict[str, str] = {}
    for prefix in (model, average):
        sources |= {name.removeprefix(prefix): name for name in stored if name.startswith(prefix)}
    found = {
        source: torch.empty(stored[source].size, dtype=stored[source].properties.dtype) for source in sources.values()
    }
    fill(checkpoint, found)
    averaged = any(source.startswith(average) for source in sources.values())
    return {name: found[source] for name, source in sources.items()}, averaged
