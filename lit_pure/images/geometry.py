"""Sizes of pictures: resize, enlarge, also a part, pad, unpad.

Knows arithmetic on images in [0, 1] (the contract is in `images/io.py`). Knows nothing of files, tiles or models.

Suffixes: B images, 3 RGB, H height, W width, h and w those of the picture before it is enlarged.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

Enlarge = Callable[[Tensor, int], Tensor]
"""From a picture (3, h, w) and a scale to (3, h * scale, w * scale)."""

BICUBIC_REACH = 2
"""Source pixels beyond a part that its enlargement needs: the taps of the bicubic kernel on each side."""


def resize(image_B3HW: Tensor, height: int, width: int) -> Tensor:
    """Bicubic, antialiased when reducing, clamped to [0, 1] because bicubic weights overshoot at edges.

    Args:
        image_B3HW: float, in [0, 1].
        height: of the result [px], at least 1.
        width: of the result [px], at least 1.

    Returns:
        `(B, 3, height, width)` in [0, 1]; equal to the input where the size stays.

    Raises:
        ValueError: the input is not four-dimensional, or a side is below 1.
    """
    if image_B3HW.ndim != 4:
        raise ValueError(f"expected images (B, 3, H, W), found {tuple(image_B3HW.shape)}; add a batch dimension")
    if height < 1 or width < 1:
        raise ValueError(f"cannot resize to {height} x {width} px; both sides must be at least 1")
    if image_B3HW.shape[-2:] == (height, width):
        return image_B3HW
    enlarged = F.interpolate(image_B3HW, (height, width), mode="bicubic", align_corners=False, antialias=True)
    return enlarged.clamp(0, 1)


def resize_rounded(image_B3HW: Tensor, height: int, width: int) -> Tensor:
    """As `resize`, of pixels with 8 bits as Pillow does it: rounded after columns and after rows, in integers.

    At whole ratios at most a few levels in a thousand are another than Pillow's, and then by one. torch has this
    arithmetic on the CPU, so pictures of another device go there and back.
    """
    levels_B3HW = (image_B3HW.clamp(0, 1) * 255).round().to("cpu", torch.uint8)
    if levels_B3HW.shape[-2:] != (height, width):
        levels_B3HW = levels_B3HW.contiguous(memory_format=torch.channels_last)
        levels_B3HW = F.interpolate(levels_B3HW, (height, width), mode="bicubic", align_corners=False, antialias=True)
    return levels_B3HW.contiguous().to(image_B3HW.device, image_B3HW.dtype) / 255


def enlarge(image_3hw: Tensor, scale: int) -> Tensor:
    """The picture enlarged `scale` times by `resize`."""
    height, width = image_3hw.shape[-2:]
    return resize(image_3hw[None], height * scale, width * scale)[0]


def enlarge_rounded(image_3hw: Tensor, scale: int) -> Tensor:
    """The picture enlarged `scale` times by `resize_rounded`."""
    height, width = image_3hw.shape[-2:]
    return resize_rounded(image_3hw[None], height * scale, width * scale)[0]


def resizer(rounded: bool) -> Callable[[Tensor, int, int], Tensor]:
    """`resize_rounded` or `resize`."""
    return resize_rounded if rounded else resize


def enlarger(rounded: bool) -> Enlarge:
    """`enlarge_rounded` or `enlarge`."""
    return enlarge_rounded if rounded else enlarge


def enlarge_part(
    image_3hw: Tensor,
    scale: int,
    top: int,
    left: int,
    height: int,
    width: int,
    by: Enlarge = enlarge,
    reach: int = BICUBIC_REACH,
) -> Tensor:
    """The part at (top, left) of the picture enlarged `scale` times, at most (height, width) [px].

    Equal to that part of the whole enlarged picture, which is never computed; cut where the picture ends.

    Args:
        image_3hw: in [0, 1].
        scale: at least 1.
        top: of the part, in the enlarged picture [px]; `left` alike.
        left: see `top`.
        height: of the part [px]; `width` alike.
        width: see `height`.
        by: enlarges what the part is made from.
        reach: how far `by` looks [source px].

    Raises:
        ValueError: `scale` is below 1, or the part is outside.
    """
    (first_row, rows), (first_column, columns) = (
        _source_range(length, scale, start, extent, reach)
        for length, start, extent in zip(image_3hw.shape[-2:], (top, left), (height, width), strict=True)
    )
    source_3hw = image_3hw[:, first_row : first_row + rows, first_column : first_column + columns]
    enlarged_3HW = by(source_3hw, scale)
    top, left = top - first_row * scale, left - first_column * scale
    return enlarged_3HW[:, top : top + height, left : left + width]


def _source_range(length: int, scale: int, start: int, extent: int, reach: int) -> tuple[int, int]:
    """First source pixel and number of source pixels that a part of the enlarged side is computed from."""
    if scale < 1 or not 0 <= start < length * scale or extent < 1:
        raise ValueError(f"{length} px enlarged {scale} times contain no part of {extent} px at {start}")
    first = max(0, start // scale - reach)
    last = min(length, -(-(start + extent) // scale) + reach)
    return first, last - first


def pad_to_square(image_3HW: Tensor, side: int) -> Tensor:
    """`(3, side, side)`: the picture at the upper left, its last row and column repeated to the bottom and right.

    Raises:
        ValueError: the picture is larger than the square.
    """
    return pad_to(image_3HW, side, side)


def pad_to(image_3HW: Tensor, height: int, width: int) -> Tensor:
    """`(3, height, width)`: as `pad_to_square`, for any size."""
    found = image_3HW.shape[-2:]
    if found[0] > height or found[1] > width:
        raise ValueError(f"a picture of {found[0]} x {found[1]} px does not fit {height} x {width}; cut it into tiles")
    return F.pad(image_3HW[None], (0, width - found[1], 0, height - found[0]), mode="replicate")[0]


def enlarge_padded(
    image_3hw: Tensor, scale: int, top: int, left: int, height: int, width: int, by: Enlarge = enlarge
) -> Tensor:
    """`(3, height, width)`: as `enlarge_part`; the picture's last row and column fill what lies beyond its end."""
    return pad_to(enlarge_part(image_3hw, scale, top, left, height, width, by), height, width)


def unpad(image_3HW: Tensor, height: int, width: int) -> Tensor:
    """The upper left `(..., height, width)` [px]: undoes `pad_to_square`.

    Raises:
        ValueError: the picture is smaller than that.
    """
    if height > image_3HW.shape[-2] or width > image_3HW.shape[-1] or min(height, width) < 1:
        raise ValueError(f"cannot cut {height} x {width} px out of {tuple(image_3HW.shape[-2:])}")
    return image_3HW[..., :height, :width]
