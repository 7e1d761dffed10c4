"""What somebody dropped on the page: refused by its header where it is no picture or too large, else read.

Knows words for people who see the page and not the command line. Knows no page.
"""

from pathlib import Path
from typing import BinaryIO

from torch import Tensor

from lit_pure.config.data import LEAST_LQ_SIDE
from lit_pure.images.io import BadImage, image_size, read_image
from lit_pure.images.opening import TooManyPixels

MILLION = 1e6


def check_upload(upload: Path, most_pixels: int) -> tuple[int, int]:
    """Height and width [px] of the upright picture, from its header alone; its pixels are not decoded.

    Raises BadImage, whose message names the file without its folder: it is no picture, too large, or too small.
    """
    try:
        with _open(upload) as content:
            height, width = image_size(Path(upload.name), content)
    except BadImage as error:
        if isinstance(error.__cause__, TooManyPixels):
            raise
        raise BadImage(f"{error}; drop a photograph as PNG, JPEG, WebP or TIFF") from error
    if height * width > most_pixels:
        raise BadImage(
            f"{upload.name}: {width:,} x {height:,} px are {_millions(height * width)} pixels, and this page takes at "
            f"most {_millions(most_pixels)}; make it smaller, or cut a part out (who runs the page can raise that with "
            f"--max-pixels {height * width})"
        )
    if min(height, width) < LEAST_LQ_SIDE:
        raise BadImage(
            f"{upload.name}: {width} x {height} px is too small; the shorter side must have {LEAST_LQ_SIDE} px"
        )
    return height, width


def read_upload(upload: Path) -> Tensor:
    """The picture (3, h, w) in [0, 1], upright. Raises BadImage, whose message names the file without its folder."""
    with _open(upload) as content:
        return read_image(Path(upload.name), content)


def _open(upload: Path) -> BinaryIO:
    try:
        return upload.open("rb")
    except OSError as error:
        raise BadImage(f"{upload.name}: the file is gone; drop it again") from error


def _millions(pixels: int) -> str:
    """A number of pixels in words: `80.0 million`, `250,000`."""
    return f"{pixels / MILLION:,.1f} million" if pixels >= MILLION else f"{pixels:,}"
