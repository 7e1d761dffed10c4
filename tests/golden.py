"""Golden values of NSARM, recorded from the published code; they lie beside the project, and not everybody has them."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

FOLDER = Path(__file__).parents[2] / "shared" / "oracles" / "nsarm"


def golden(name: str) -> dict[str, np.ndarray]:
    """The arrays of a file; the test is skipped where it is absent."""
    path = FOLDER / f"{name}.npz"
    if not path.is_file():
        pytest.skip(f"no golden file {path.name} here")
    with np.load(path) as file:
        return dict(file)


def weights_of(arrays: dict[str, np.ndarray]) -> dict[str, Tensor]:
    """The weights of a file by their published names, in float32."""
    return {key[2:]: torch.from_numpy(array).float() for key, array in arrays.items() if key.startswith("w/")}
