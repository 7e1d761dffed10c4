"""Small next-scale transformers with the weights that published code was recorded with."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from lit_pure.config.next_scale import NextScaleConfig
from lit_pure.convert.infinity import from_infinity, sizes_in
from lit_pure.models.next_scale import NextScaleTransformer
from tests.golden import weights_of

RATIOS = {"transformer_d8_r1.0": (64, 64), "transformer_d2patch_r1.25": (70, 56)}
"""Recorded transformers, and the frames of their ratios."""


def published_transformer(values: Mapping[str, np.ndarray]) -> NextScaleTransformer:
    """The transformer of a recorded file, in evaluation mode."""
    state, source = weights_of(values), Path("recorded")
    config = sizes_in(state, NextScaleConfig(), source, "")
    transformer = NextScaleTransformer(config)
    transformer.load_state_dict(from_infinity(state, config, source, ""))
    return transformer.eval()
