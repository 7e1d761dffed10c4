"""Pictures side by side, with a label above each column.

Knows pixels in [0, 1] and Pillow's built-in font. Knows nothing of what the pictures mean.

Shape legend: B pictures, H W their size, 3 RGB.
"""

from collections.abc import Mapping

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from lit_pure.images.geometry import resize
from lit_pure.images.io import from_bytes

GAP = 2
"""Black pixels between pictures."""
HEADER = 14
"""Height of the line of labels [px]."""


def labelled_grid(columns: Mapping[str, Tensor]) -> Tensor:
    """One row per picture and one column per label, all resized to the size of the first column.

    Args:
        columns: label -> (B, 3, H, W) in [0, 1], all of the same B.

    Returns:
        (3, H', W') in [0, 1], on the CPU.

    Raises:
        ValueError: no columns, or columns of different lengths.
    """
    if not columns or len({len(pictures) for pictures in columns.values()}) != 1:
        raise ValueError(f"cannot lay out columns of {[len(pictures) for pictures in columns.values()]} pictures")
    height, width = next(iter(columns.values())).shape[-2:]
    strips = []
    for label, pictures_B3HW in columns.items():
        even_B3HW = resize(pictures_B3HW.detach().float().cpu(), height, width)
        spaced_B3HW = torch.nn.functional.pad(even_B3HW, (0, GAP, 0, GAP))
        strips.append(torch.cat([_header(label, width + GAP), spaced_B3HW.movedim(1, 0).flatten(1, 2)], dim=1))
    return torch.cat(strips, dim=2)


def _header(label: str, width: int) -> Tensor:
    """(3, HEADER, width): white text on black, cut where it is too long."""
    line = Image.new("RGB", (width, HEADER))
    ImageDraw.Draw(line).text((2, 1), label, fill="white")
    return from_bytes(torch.from_numpy(np.array(line)).permute(2, 0, 1))
