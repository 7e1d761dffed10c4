"""The adversary: pix2pix's sizes, hinge and LeCam by their formulas, and who gets which gradient."""

import pytest
import torch
from torch import Tensor

from lit_pure.config.tokenizer import AdversarialConfig
from lit_pure.models.discriminator import LeCam, PatchDiscriminator, hinge_loss


def picture(seed: int, size: int = 64) -> Tensor:
    return torch.rand(2, 3, size, size, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def test_the_published_discriminator_has_its_size_and_its_patch_of_70_px() -> None:
    judge = PatchDiscriminator(AdversarialConfig()).eval()
    # CycleGAN's with instance norm has 2,764,737: biases in three convolutions, where batch norm has pairs instead.
    assert sum(item.numel() for item in judge.parameters()) == 2_764_737 + 128 + 256 + 512
    image = torch.zeros(1, 3, 256, 256, requires_grad=True)
    scores_1111 = judge(image)
    assert scores_1111.shape == (1, 1, 30, 30)
    scores_1111[0, 0, 15, 15].backward()
    assert image.grad is not None
    rows = image.grad.abs().sum((0, 1, 3)).nonzero().flatten()
    assert int(rows.max() - rows.min()) + 1 == 70


def test_hinge_is_zero_beyond_the_margins() -> None:
    assert float(hinge_loss(torch.tensor([1.0, 3.0]), torch.tensor([-1.0, -9.0]))) == 0
    assert float(hinge_loss(torch.tensor([0.0]), torch.tensor([0.5]))) == pytest.approx((1 + 1.5) / 2)


def test_lecam_pulls_scores_to_the_others_running_mean() -> None:
    lecam = LeCam(decay=0.5)
    real, fake = torch.tensor([2.0, 4.0]), torch.tensor([-1.0, -3.0])
    # Means after one step: real 1.5, fake -1. relu(real - (-1))^2 is 9 and 25, relu(1.5 - fake)^2 is 6.25 and 20.25.
    assert float(lecam(real, fake, lambda mean: mean)) == pytest.approx(17 + 13.25)
    assert lecam.means_2.tolist() == pytest.approx([1.5, -1.0])
    assert set(lecam.state_dict()) == {"means_2"}, "checkpoints keep them"


@pytest.mark.parametrize("norm", ["batch", "spectral"])
def test_judging_gives_the_picture_a_gradient_and_the_judge_none(norm: str) -> None:
    torch.manual_seed(0)
    judge = PatchDiscriminator(AdversarialConfig(channels=8, norm=norm)).eval()  # type: ignore[arg-type]
    image = picture(0).requires_grad_()
    assert torch.equal(judge.judge(image), judge(image))
    judge.judge(image).mean().backward()
    assert image.grad is not None and float(image.grad.abs().sum()) > 0
    assert all(item.grad is None for item in judge.parameters())
    judge(image.detach()).mean().backward()
    assert all(item.grad is not None for item in judge.parameters())


def test_spectral_normalisation_bounds_what_a_layer_can_do() -> None:
    torch.manual_seed(0)
    judge = PatchDiscriminator(AdversarialConfig(channels=8, norm="spectral")).train()
    for _ in range(30):
        judge(picture(1))  # power iterations
    weight = judge.layers[2].weight.detach().flatten(1)
    assert float(torch.linalg.matrix_norm(weight, 2)) == pytest.approx(1.0, abs=0.02)
