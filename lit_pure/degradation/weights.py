"""Stores and loads the weights of the degradation estimator.

Knows its configuration. Knows nothing of how tensors are written and checked (`models/weights.py`).
"""

from dataclasses import asdict
from pathlib import Path

from lit_pure.config.dem import DemConfig
from lit_pure.degradation.dem import DegradationEstimator
from lit_pure.models.weights import load_frozen, read_config, read_state, save


def save_dem(folder: Path, model: DegradationEstimator) -> None:
    """Write a degradation estimator with its thresholds."""
    save(folder, "dem", asdict(model.config), model.state_dict())


def load_dem(folder: Path) -> DegradationEstimator:
    """Read a frozen degradation estimator in float32. Raises ValueError naming folder and remedy."""
    config = read_config(folder, "dem", DemConfig)
    return load_frozen(lambda: DegradationEstimator(config), read_state(folder), folder).float()
