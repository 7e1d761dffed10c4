"""The official layout of NSARM's transformation network (inside `NSARM.pth`) <-> ours.

Knows the names of its tensors, which are below `map_transformer.` in a table that also holds the transformer's. Knows
nothing of the transformer, or of where files come from.
"""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from lit_pure.config.transformation import TransformationConfig
from lit_pure.convert.foreign import require_shapes, shapes
from lit_pure.models.transformation import PublishedTransformation

WITHIN = "map_transformer."
"""Prefix of the network inside NSARM.pth; all other tensors there are the transformer's, and are ignored here."""


def key_table(config: TransformationConfig, latent_channels: int) -> dict[str, str]:
    """Their names -> ours, for all tensors. Raises ValueError where the layout has no such network."""
    return {_official_name(name): name for name in _our_shapes(config, latent_channels)}


def from_nsarm_map(
    state: Mapping[str, Tensor], config: TransformationConfig, latent_channels: int, source: Path, remedy: str
) -> dict[str, Tensor]:
    """Our state dict from theirs: the same tensors under our names.

    Args:
        state: of NSARM, which contains the network, or of the network alone.
        config: the sizes.
        latent_channels: of the tokenizer; 14 in the published network.
        source: the file, for the error.
        remedy: what to do about it, for the error.

    Raises:
        ValueError: naming what is missing, unknown or misshapen.
    """
    table, ours = key_table(config, latent_channels), _our_shapes(config, latent_channels)
    inner = {name.removeprefix(WITHIN): item for name, item in state.items() if name.startswith(WITHIN)}
    used = inner or state
    require_shapes(shapes(used), {theirs: ours[name] for theirs, name in table.items()}, source, remedy)
    return {table[name]: item for name, item in used.items()}


def to_nsarm_map(state: Mapping[str, Tensor], config: TransformationConfig, latent_channels: int) -> dict[str, Tensor]:
    """Their state dict from ours, with the names that NSARM.pth has."""
    return {f"{WITHIN}{theirs}": state[ours] for theirs, ours in key_table(config, latent_channels).items()}


def _our_shapes(config: TransformationConfig, latent_channels: int) -> dict[str, tuple[int, ...]]:
    if config.layout != "raw":
        raise ValueError(
            f"a transformation network with layout {config.layout} has no official layout; NSARM's has layout: raw"
        )
    with torch.device("meta"):
        return shapes(PublishedTransformation(config, latent_channels).state_dict())


def _official_name(name: str) -> str:
    """Their name for one of our tensors, stem.LAYER... or branches.SCALE.PART.LAYER..."""
    outer, _, rest = name.partition(".")
    if outer == "stem":
        return f"feature_extractor.{rest}"
    scale, part, rest = rest.split(".", 2)
    theirs = {
        "convolutions": f"feature_transforms.{scale}",
        "transformer": f"transformers.{scale}.layers",
        "head": f"output_projs.{scale}",
    }
    return f"{theirs[part]}.{rest}"
