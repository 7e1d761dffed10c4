"""Uploads as people drop them, small enough for seconds: photographs that come with scikit-image, and what is none."""

from pathlib import Path

import numpy as np
import skimage.data
from numpy.typing import NDArray
from PIL import Image

SIDEWAYS = 6
"""EXIF orientation of a camera held upright: what is stored must be turned."""


def photograph(height: int, width: int) -> NDArray[np.uint8]:
    """(height, width, 3)."""
    return skimage.data.chelsea()[60 : 60 + height, 90 : 90 + width]


def make_png(path: Path, height: int = 32, width: int = 40) -> Path:
    Image.fromarray(photograph(height, width)).save(path)
    return path


def make_rotated_jpeg(path: Path, height: int = 40, width: int = 24) -> Path:
    """A JPEG that is (height, width) px once it is turned as its EXIF says."""
    exif = Image.Exif()
    exif[0x0112] = SIDEWAYS
    stored = Image.fromarray(photograph(height, width)).transpose(Image.Transpose.ROTATE_90)
    stored.save(path, exif=exif, quality=95)
    return path


def make_text(path: Path) -> Path:
    path.write_text("Dear reader, this is no photograph.\n")
    return path


def make_80_megapixels(path: Path) -> Path:
    """A PNG of 10,000 x 8,000 px by its header. Its pixels are damaged: who decodes it finds that, and not its size."""
    Image.new("1", (10_000, 8_000)).save(path)
    content = path.read_bytes()
    path.write_bytes(content[: content.index(b"IDAT") + 4] + b"\0" * 2000)
    return path
