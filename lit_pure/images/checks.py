"""Checks of pictures that come from outside: type, shape, range, and the remedy for what is wrong.

Knows the mistakes that a user makes with pixels. Called where the package is entered, with one pass over the values;
inside, the contract of `io.py` holds.

Suffixes: B images, 3 RGB, H height, W width.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

TOLERANCE = 1e-6
"""How far a pixel may be outside [0, 1], because of rounding."""
_SHAPES = {3: "a picture (3, H, W)", 4: "a batch (B, 3, H, W)"}


def require_picture(image_3HW: Tensor, name: str) -> None:
    """Raise ValueError naming the remedy unless this is one picture `(3, H, W)`, float in [0, 1]; `name` names it."""
    _require(image_3HW, name, 3)


def require_batch(images_B3HW: Tensor, name: str) -> None:
    """Raise ValueError naming the remedy unless this is a batch `(B, 3, H, W)`, float in [0, 1]; `name` names it."""
    _require(images_B3HW, name, 4)


def require_one_each(given: Sequence[Any], images_B3HW: Tensor, what: str) -> None:
    """Raise ValueError unless as many are given as there are pictures; `what` names one of them."""
    if len(given) != len(images_B3HW):
        raise ValueError(f"{len(given)} {what}s for {len(images_B3HW)} images; give one for each")


def _require(image: Any, name: str, dimensions: int) -> None:
    wanted = f"{name}: expected {_SHAPES[dimensions]} float in [0, 1]"
    if not isinstance(image, Tensor):
        raise ValueError(
            f"{wanted}, found {type(image).__name__}; make it a tensor: torch.from_numpy, images.io.read_image"
        )
    found = f"{wanted}, found {tuple(image.shape)} {str(image.dtype).removeprefix('torch.')}"
    if remedy := _remedy_of_shape(tuple(image.shape), dimensions):
        raise ValueError(f"{found}; {remedy}")
    if not image.is_floating_point():
        raise ValueError(f"{found}; divide it by its highest level, as images.io.from_bytes does with uint8")
    low, high = _range(image)
    if not (-TOLERANCE <= low and high <= 1 + TOLERANCE):  # also NaN
        raise ValueError(f"{wanted}, found values in {low:.4g} .. {high:.4g}; {_remedy_of_range(low, high)}")


def _remedy_of_shape(shape: tuple[int, ...], dimensions: int) -> str:
    """What to do about a shape; empty where it is right."""
    if 0 in shape:
        return "it is empty"
    if len(shape) == dimensions and shape[-3] == 3:
        return ""
    if len(shape) == dimensions and shape[-1] in (1, 3, 4):
        return "the channels come first: image.movedim(-1, -3)"
    if len(shape) == dimensions and shape[-3] == 1:
        return "repeat grey three times: image.repeat_interleave(3, -3)"
    if len(shape) == dimensions and shape[-3] == 4:
        return "leave out alpha: image[..., :3, :, :]"
    if len(shape) == 2:
        return "repeat grey three times: image.expand(3, -1, -1)" + ("[None]" if dimensions == 4 else "")
    if len(shape) == 3 and dimensions == 4:
        return "add the dimension of a batch: image[None]"
    if len(shape) == 4 and dimensions == 3:
        return "give one picture of the batch: images[0]"
    return "give RGB in this shape"


def _range(image: Tensor) -> tuple[float, float]:
    """Lowest and highest value; NaN where one is NaN."""
    # Expanded dimensions repeat the same numbers, however many.
    distinct = image[tuple(slice(None) if stride else slice(1) for stride in image.stride())]
    low, high = torch.stack(torch.aminmax(distinct.detach())).tolist()
    return low, high


def _remedy_of_range(low: float, high: float) -> str:
    if not (abs(low) < torch.inf and abs(high) < torch.inf):
        return "find where NaN and infinite values arise"
    if low >= 0 and 2 < high <= 255:
        return "divide them by 255"
    if low >= 0 and 255 < high <= 65535:
        return "divide them by 65535"
    if -1 - TOLERANCE <= low < 0 and high <= 1 + TOLERANCE:
        return "clamp them to [0, 1], or take (image + 1) / 2 if they are meant to be in [-1, 1]"
    return "clamp them to [0, 1]"
