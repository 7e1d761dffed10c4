"""Statistics of the noise against closed forms, and of Poisson noise against basicsr."""

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from lit_pure.degradation.noise import LUMA, add_gaussian, add_poisson


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def test_gaussian_noise_is_normal_with_its_sigma() -> None:
    flat = torch.full((3, 64, 64), 0.5)
    noise = (add_gaussian(flat, 20.0, False, generator()) - flat) * 255
    assert noise.std().item() == pytest.approx(20, rel=0.02)
    assert stats.kstest(noise.flatten().numpy()[:4000], stats.norm(0, 20).cdf).pvalue > 0.01
    assert abs(np.corrcoef(noise.flatten(1).numpy())[0, 1]) < 0.05


@pytest.mark.parametrize("add", [add_gaussian, add_poisson])
def test_gray_noise_is_shared_by_the_channels(hq_B3HW: Tensor, add: object) -> None:
    noise = add(hq_B3HW[0], 1.0, True, generator()) - hq_B3HW[0]  # type: ignore[operator]
    torch.testing.assert_close(noise[0], noise[1], atol=1e-6, rtol=0)
    torch.testing.assert_close(noise[0], noise[2], atol=1e-6, rtol=0)
    assert noise.std() > 1e-3


def test_the_variance_of_poisson_noise_is_brightness_over_photons() -> None:
    levels = torch.tensor([51.0, 102.0, 204.0]) / 255
    columns = levels.repeat_interleave(200).expand(3, 200, 600)  # 3 levels: 4 photons
    noise = add_poisson(columns, 0.5, False, generator()) - columns
    found = noise.reshape(3, 200, 3, 200).transpose(1, 2).flatten(2).var(-1)
    torch.testing.assert_close(found, (0.25 * levels / 4).expand(3, 3), rtol=0.03, atol=0)
    assert abs(noise.mean()) < 2e-3


@pytest.mark.parametrize("gray", [False, True])
def test_poisson_noise_is_distributed_as_basicsr_s(basicsr: None, hq_B3HW: Tensor, gray: bool) -> None:
    from basicsr.data.degradations import generate_poisson_noise_pt

    image = hq_B3HW[0]
    torch.manual_seed(0)
    reference = generate_poisson_noise_pt(image[None], 2.0, float(gray))[0]
    noise = add_poisson(image, 2.0, gray, generator()) - image
    assert noise.std().item() == pytest.approx(reference.std().item(), rel=0.03)
    ours, theirs = (n[0].flatten().numpy() for n in (noise, reference))
    assert stats.ks_2samp(ours, theirs, method="asymp").pvalue > 0.01


def test_gray_poisson_noise_takes_the_brightness_of_the_luma() -> None:
    color = torch.tensor([0.8, 0.2, 0.6])[:, None, None].expand(3, 200, 200)
    noise = (add_poisson(color, 1.0, True, generator()) - color)[0]
    luma = sum(weight * value for weight, value in zip(LUMA, (0.8, 0.2, 0.6), strict=True))  # one level: one photon
    assert noise.var().item() == pytest.approx(luma, rel=0.03)


@pytest.mark.parametrize("add", [add_gaussian, add_poisson])
def test_noise_depends_on_its_generator_alone(hq_B3HW: Tensor, add: object) -> None:
    first, again = (add(hq_B3HW[0], 2.0, False, generator()) for _ in range(2))  # type: ignore[operator]
    other = add(hq_B3HW[0], 2.0, False, torch.Generator().manual_seed(1))  # type: ignore[operator]
    assert torch.equal(first, again) and not torch.equal(first, other)
