"""Pictures as files and as tensors.

The pixel contract of the whole package: an image is `(B, 3, H, W)`, one image `(3, H, W)`, RGB, float32 in [0, 1].
Between processes and on disk pixels are uint8 in 0..255; only `to_bytes` and `from_bytes` convert.

Knows how reading and writing fail, and how alpha is blended. How a file is opened and turned is `opening.py`'s, what
its numbers mean `decoding.py`'s and `profiles.py`'s. Knows nothing of data sets or models. Of an animation the first
frame is read.

Suffixes: B images, 3 RGB, H height, W width.
"""

import errno
import filecmp
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import torch
from PIL import Image, UnidentifiedImageError
from PIL.PngImagePlugin import PngInfo
from torch import Tensor

from lit_pure.files.atomic import whole_file
from lit_pure.images.decoding import HIGHEST, decode
from lit_pure.images.large import is_large, write_strips
from lit_pure.images.opening import opened, upright_size


class BadImage(ValueError):
    """A file without a readable picture; the message names file and reason in one line."""


def read_image(path: Path, content: IO[bytes] | None = None) -> Tensor:
    """One picture, upright and without alpha (blended on white).

    Grey, palette, CMYK and 1-bit pictures become RGB, and colours of another profile sRGB. Levels of 16 bits are
    divided by 65535, those of 8 by 255.

    Args:
        path: of the file.
        content: an open file to read instead; `path` then only names it.

    Returns:
        `(3, H, W)` RGB float32 in [0, 1].

    Raises:
        BadImage: the file is missing, damaged, truncated, not a picture, too large for this machine's memory, or its
            values have no known range.
    """
    pixels_3HW = _read(path, content)
    return from_bytes(pixels_3HW.contiguous()) if pixels_3HW.dtype == torch.uint8 else pixels_3HW


def read_bytes(path: Path, content: IO[bytes] | None = None) -> Tensor:
    """The same as `to_bytes(read_image(...))`, several times faster for 8-bit pictures, which stay integers.

    Returns:
        `(3, H, W)` RGB uint8; not always contiguous.
    """
    pixels_3HW = _read(path, content)
    return pixels_3HW if pixels_3HW.dtype == torch.uint8 else to_bytes(pixels_3HW)


def same_pixels(one: Path, other: Path) -> bool:
    """Whether two files show the same pixels, whatever their format. Raises BadImage."""
    return filecmp.cmp(one, other, shallow=False) or torch.equal(read_bytes(one), read_bytes(other))


def image_size(path: Path, content: IO[bytes] | None = None) -> tuple[int, int]:
    """Height and width [px] of the upright picture, from the file's header only; the pixels may still be damaged.

    Args:
        path: of the file.
        content: an open file to read instead; `path` then only names it.

    Raises:
        BadImage: the file is missing, its header is not that of a picture, or it is too large for the memory.
    """
    with _as_bad_image(path), opened(path, content, pixels=False) as file:
        return upright_size(file)


def to_bytes(image: Tensor) -> Tensor:
    """Float pixels in [0, 1], of any shape, to the nearest of 256 levels; values outside are clamped.

    Raises:
        ValueError: the image is not a float tensor, or has NaN or infinite values.
    """
    if not image.is_floating_point():
        raise ValueError(f"expected float pixels in [0, 1], found {image.dtype}; use from_bytes for uint8")
    if wrong := int((~torch.isfinite(image)).sum()):
        raise ValueError(f"{wrong} of {image.numel()} pixel values are NaN or infinite; find where they arise")
    return (image.clamp(0, 1) * 255).round().to(torch.uint8)


def from_bytes(image: Tensor) -> Tensor:
    """uint8 pixels in 0..255, of any shape, to float32 in [0, 1]; `to_bytes` is the exact inverse."""
    return image.to(torch.float32) / 255


def write_png(path: Path, image_3HW: Tensor, software: str = "") -> None:
    """Write one picture, whole or not at all: a reader never meets half a file.

    Args:
        path: in an existing folder; a file already there is replaced.
        image_3HW: RGB in [0, 1], or uint8 as `to_bytes` gives it.
        software: what the file says of who wrote it; "": nothing.

    Raises:
        ValueError: the shape is not `(3, H, W)`, or a value is NaN or infinite.
        OSError: the file cannot be written (no space, no permission); nothing is left behind.
    """
    if image_3HW.ndim != 3 or image_3HW.shape[0] != 3:
        raise ValueError(f"{path}: expected an image (3, H, W), found {tuple(image_3HW.shape)}")
    pixels_3HW = image_3HW if image_3HW.dtype == torch.uint8 else to_bytes(image_3HW.detach())
    pixels_HW3 = pixels_3HW.permute(1, 2, 0).contiguous().cpu().numpy()
    try:
        with whole_file(path) as partial:
            if is_large(*pixels_HW3.shape[:2]):
                write_strips(partial, pixels_HW3, software)
            else:
                said = PngInfo()
                if software:
                    said.add_text("Software", software)
                Image.fromarray(pixels_HW3).save(partial, format="PNG", pnginfo=said)
    except OSError as error:
        remedy = "; free some space and repeat" if error.errno == errno.ENOSPC else ""
        raise OSError(error.errno, f"cannot write the picture: {error.strerror or error}{remedy}", str(path)) from error


@contextmanager
def _as_bad_image(path: Path) -> Iterator[None]:
    """Turn any error inside into one `BadImage`."""
    try:
        yield
    except FileNotFoundError as error:
        raise BadImage(f"{path}: no such file") from error
    except UnidentifiedImageError as error:
        raise BadImage(f"{path}: not a picture in a format that Pillow reads") from error
    except Exception as error:  # Pillow's decoders raise nearly anything when a file is damaged
        reason = " ".join(str(getattr(error, "strerror", None) or error).split()) or type(error).__name__
        raise BadImage(f"{path}: {reason}") from error


def _read(path: Path, content: IO[bytes] | None) -> Tensor:
    """The upright picture `(3, H, W)`: uint8, or float32 in [0, 1] where 8 bits are not enough. Raises BadImage."""
    with _as_bad_image(path):
        colors_3HW, alpha_1HW = decode(path, content)
        if alpha_1HW is None:
            return colors_3HW if colors_3HW.dtype == torch.uint8 else _to_floats(colors_3HW)
        share_1HW = _to_floats(alpha_1HW)
        return _to_floats(colors_3HW) * share_1HW + (1 - share_1HW)


def _to_floats(levels: Tensor) -> Tensor:
    """Levels of 8 or 16 bits as float32 in [0, 1]."""
    return from_bytes(levels) if levels.dtype == torch.uint8 else levels.to(torch.float32) / HIGHEST
