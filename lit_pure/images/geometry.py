"""Sizes of pictures: resize, shrink, pad, undo.

Knows only arithmetic on images in [0, 1] (the contract is in `images/io.py`). Knows nothing of files, tiles or models.

Suffixes: B images, 3 RGB, H height, W width.
"""

import torch.nn.functional as F
from torch import Tensor


def resize(image_B3HW: Tensor, height: int, width: int) -> Tensor:
    """Bicubic, antialiased when it reduces, clamped to [0, 1] because bicubic weights overshoot at edges.

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


def shrink_to_fit(image_3HW: Tensor, side: int) -> Tensor:
    """Reduce one picture so that its longer side is `side` [px], proportions kept; unchanged where it already fits.

    Raises:
        ValueError: `side` is below 1.
    """
    if side < 1:
        raise ValueError(f"cannot shrink to {side} px; the side must be at least 1")
    height, width = image_3HW.shape[-2:]
    longer = max(height, width)
    if longer <= side:
        return image_3HW
    # a panorama's short side must not round to nothing
    return resize(image_3HW[None], max(1, round(height * side / longer)), max(1, round(width * side / longer)))[0]


def pad_to_square(image_3HW: Tensor, side: int) -> Tensor:
    """`(3, side, side)`: the picture in the upper left, its last row and column repeated to the bottom and the right.

    Raises:
        ValueError: the picture is larger than the square.
    """
    height, width = image_3HW.shape[-2:]
    if max(height, width) > side:
        raise ValueError(f"a picture of {height} x {width} px does not fit {side} x {side}; use shrink_to_fit first")
    return F.pad(image_3HW[None], (0, side - width, 0, side - height), mode="replicate")[0]


def unpad(image_3HW: Tensor, height: int, width: int) -> Tensor:
    """The upper left `(3, height, width)` [px]: undoes `pad_to_square`.

    Raises:
        ValueError: the picture is smaller than that.
    """
    if height > image_3HW.shape[-2] or width > image_3HW.shape[-1] or min(height, width) < 1:
        raise ValueError(f"cannot cut {height} x {width} px out of {tuple(image_3HW.shape[-2:])}")
    return image_3HW[..., :height, :width]
