"""Captions of what a photograph shows: names of ImageNet's classes, before the light and colours of the crop.

Knows which part of a photograph the network sees, and when a name is probable enough. Knows nothing of the network
(`models/efficientnet.py`), of files, or of when captions are made (`source.py`).

Suffixes: 3 RGB, H height, W width; N ImageNet's classes.
"""

from functools import cache

import torch
from torch import Tensor

from lit_pure.datasets.captions.describe import describe_light
from lit_pure.images.geometry import resize
from lit_pure.images.io import from_bytes
from lit_pure.images.threads import one_thread
from lit_pure.models.efficientnet import EfficientNetLite, load_efficientnet

PROBABLE = 0.25
"""Least probability of a name, so that there are three at most. 72 % of BSDS500's training set get one or two."""
SIDE = 224
"""Side of the pictures that the network was trained with [px]."""


@cache
def network() -> EfficientNetLite:
    """The network, loaded once per process. Raises ValueError naming the remedy where its package is missing."""
    return load_efficientnet()


@cache
def class_names() -> tuple[str, ...]:
    """The names of ImageNet's 1,000 classes, in the order of the network's answers."""
    from torchvision.models import EfficientNet_B0_Weights  # imported late: it takes a second

    return tuple(EfficientNet_B0_Weights.DEFAULT.meta["categories"])


@torch.no_grad()
def tags(photo_3HW: Tensor) -> str:
    """What the middle square of a photograph shows, likeliest first: "Egyptian cat, tiger cat"; empty where unclear.

    It depends on no other photograph and on no number of threads.

    Args:
        photo_3HW: the whole photograph, uint8.

    Raises:
        ValueError: the network is not installed.
    """
    height, width = photo_3HW.shape[1:]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square_13ss = from_bytes(photo_3HW[None, :, top : top + side, left : left + side].contiguous())
    with one_thread():
        probability_N = network().probabilities(resize(square_13ss, SIDE, SIDE))[0]
    likeliest = probability_N.argsort(descending=True, stable=True).tolist()
    return ", ".join(class_names()[index] for index in likeliest if probability_N[index] >= PROBABLE)


def describe_tagged(seen: str, hq_3HW: Tensor) -> str:
    """The caption of a crop of a photograph with these tags; without tags only its light and colours.

    The layout and texture of `pixels` are left out: every word costs time to decode.
    """
    light = describe_light(hq_3HW)
    return f"{seen}. {light}" if seen else light
