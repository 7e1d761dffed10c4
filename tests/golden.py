"""Values of NSARM recorded from the published code; they lie beside the project, and tests skip where they do not."""

from collections.abc import Iterable, Mapping
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
        pytest.skip(f"no golden values {path.name} here")
    with np.load(path) as file:
        return dict(file)


def numbers(name: str) -> dict[str, Tensor]:
    """All numbers of a file; whole numbers stay whole, float16 becomes float32."""
    return {
        key: torch.from_numpy(item.astype(np.float32) if item.dtype == np.float16 else item)
        for key, item in golden(name).items()
        if item.dtype.kind in "biuf"
    }


def tensor(array: np.ndarray) -> Tensor:
    return torch.from_numpy(array).float()


def grids_of(rows: Iterable[Iterable[int]]) -> list[tuple[int, int]]:
    """Rows (h, w) -> a schedule."""
    return [(int(height), int(width)) for height, width in rows]


def weights_of(arrays: Mapping[str, np.ndarray], prefix: str = "w/") -> dict[str, Tensor]:
    """The weights of a file by their published names, in float32."""
    return {key.removeprefix(prefix): tensor(array) for key, array in arrays.items() if key.startswith(prefix)}
