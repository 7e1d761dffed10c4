"""Colours: brightness of a picture, and heat maps.

Knows luma weights and one colour map. Knows nothing of files or of what the numbers in a map mean.

Suffixes: 3 RGB, H height, W width, h and w the sides of a map, A anchor colours.
"""

import torch
from torch import Tensor

LUMA_WEIGHTS = (0.299, 0.587, 0.114)
"""ITU-R BT.601, full range."""

NOT_MEASURED = 0.5
"""Grey level of NaN in a heat map: the map has no grey."""

# Dark blue, violet, red, orange, light yellow: luma increases steadily, so the order survives in black and white.
_ANCHORS = ((0.02, 0.03, 0.28), (0.35, 0.05, 0.55), (0.80, 0.20, 0.38), (0.97, 0.58, 0.18), (1.00, 0.97, 0.62))


def luma(image_3HW: Tensor) -> Tensor:
    """Brightness in [0, 1], BT.601 full range: `(..., 3, H, W)` -> `(..., H, W)`.

    Raises:
        ValueError: the third dimension from the right is not 3.
    """
    if image_3HW.ndim < 3 or image_3HW.shape[-3] != 3:
        raise ValueError(f"expected RGB (..., 3, H, W), found {tuple(image_3HW.shape)}")
    red, green, blue = image_3HW.unbind(-3)
    return LUMA_WEIGHTS[0] * red + LUMA_WEIGHTS[1] * green + LUMA_WEIGHTS[2] * blue


def heatmap(map_hw: Tensor, low: float, high: float, scale: int = 1) -> Tensor:
    """A map of numbers as a picture, from dark blue (`low`) to light yellow (`high`).

    Args:
        map_hw: numbers; those outside [low, high] get the end colours, NaN becomes grey.
        low: the number of the darkest colour, in the unit of the map.
        high: the number of the lightest colour; above `low`.
        scale: width and height of a number [px] (nearest neighbour).

    Returns:
        `(3, h * scale, w * scale)` RGB float32 in [0, 1].

    Raises:
        ValueError: the map does not have two dimensions, `high` is not above `low`, or `scale` is below 1.
    """
    if map_hw.ndim != 2:
        raise ValueError(f"expected a map (h, w), found {tuple(map_hw.shape)}")
    if not low < high:
        raise ValueError(f"the range {low} .. {high} is empty; give low below high")
    if scale < 1:
        raise ValueError(f"scale {scale} is below 1; give 1 or more")
    anchors_A3 = torch.tensor(_ANCHORS, dtype=torch.float32, device=map_hw.device)
    share_hw = (map_hw.detach().float() - low) / (high - low)
    position_hw = share_hw.nan_to_num(0).clamp(0, 1) * (len(_ANCHORS) - 1)
    below_hw = position_hw.long().clamp(max=len(_ANCHORS) - 2)
    color_hw3 = torch.lerp(anchors_A3[below_hw], anchors_A3[below_hw + 1], (position_hw - below_hw)[..., None])
    color_hw3 = color_hw3.masked_fill(torch.isnan(share_hw)[..., None], NOT_MEASURED)
    return color_hw3.permute(2, 0, 1).repeat_interleave(scale, 1).repeat_interleave(scale, 2)
