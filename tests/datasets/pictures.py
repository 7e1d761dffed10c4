"""Pictures whose pixels encode their position and their file."""

from pathlib import Path

import numpy as np
from PIL import Image


def save(path: Path, height: int = 48, width: int = 64) -> None:
    """Red is the row, green the column, blue the first letter of the name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[..., 0], pixels[..., 1], pixels[..., 2] = np.arange(height)[:, None], np.arange(width), ord(path.stem[0])
    Image.fromarray(pixels).save(path)


def damage(path: Path, cut: int = 60) -> None:
    """Cut off the end; the header stays."""
    path.write_bytes(path.read_bytes()[:-cut])
