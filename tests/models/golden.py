"""Golden values beside the project, recorded from published code; tests that need them are skipped where they lack."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor


def golden(shared: Path, name: str, family: str = "nsarm") -> dict[str, Tensor]:
    """All numbers of a file; whole numbers stay whole, float16 becomes float32."""
    path = shared.parent / "oracles" / family / f"{name}.npz"
    if not path.is_file():
        pytest.skip(f"no golden values {path.name} here")
    with np.load(path) as stored:
        arrays = {key: stored[key] for key in stored.files}
    return {
        key: torch.from_numpy(item.astype(np.float32) if item.dtype == np.float16 else item)
        for key, item in arrays.items()
        if item.dtype.kind in "biuf"
    }


def grids(rows: Tensor) -> list[tuple[int, int]]:
    """Rows (h, w) -> a schedule."""
    return [(height, width) for height, width in rows.tolist()]
