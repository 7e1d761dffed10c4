"""Values recorded from the published code of NSARM, where they exist beside the project; tests skip without them."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from lit_pure.config.next_scale import NextScaleConfig
from lit_pure.convert.infinity import from_infinity, sizes_in
from lit_pure.models.frame_rope import Grid
from lit_pure.models.next_scale import NextScaleTransformer

FOLDER = Path(__file__).parents[2] / "shared" / "oracles" / "nsarm"
RATIOS = {"transformer_d8_r1.0": (64, 64), "transformer_d2patch_r1.25": (70, 56)}
"""Recorded transformers, and the frames of their ratios."""


def golden(name: str) -> Mapping[str, np.ndarray]:
    """The arrays of a file; skips where it is absent."""
    path = FOLDER / f"{name}.npz"
    if not path.is_file():
        pytest.skip(f"no recorded values {name} here")
    return np.load(path)


def tensor(array: np.ndarray) -> Tensor:
    return torch.from_numpy(array).float()


def grids_of(array: np.ndarray) -> list[Grid]:
    return [(int(rows), int(columns)) for rows, columns in array]


def published_weights(values: Mapping[str, np.ndarray], prefix: str = "w/") -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor(values[name]) for name in values if name.startswith(prefix)}


def published_transformer(values: Mapping[str, np.ndarray], prefix: str = "w/") -> NextScaleTransformer:
    """The transformer of a recorded file, in evaluation mode."""
    state, source = published_weights(values, prefix), Path("recorded")
    config = sizes_in(state, NextScaleConfig(), source, "")
    transformer = NextScaleTransformer(config)
    transformer.load_state_dict(from_infinity(state, config, source, ""))
    return transformer.eval()
