"""Colours against scipy's convolutions, and against moments computed by numpy."""

import numpy as np
import pytest
import torch
from scipy import ndimage

from lit_pure.config.experiment import RestoringConfig
from lit_pure.images.colorfix import Moments, adain, fix_colors, low_frequencies, wavelet_reach

KERNEL = np.outer([1, 2, 1], [1, 2, 1]) / 16


def picture(seed: int, low: float, high: float) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return low + (high - low) * torch.rand(2, 3, 50, 61, generator=generator)


def spread(dilation: int) -> np.ndarray:
    """The kernel with its taps `dilation` px apart."""
    side = 2 * dilation + 1
    kernel = np.zeros((side, side))
    kernel[::dilation, ::dilation] = KERNEL
    return kernel


def decompose(channel: np.ndarray, levels: int = 5) -> tuple[np.ndarray, np.ndarray]:
    """High and low frequencies, level by level as published."""
    high, low = np.zeros_like(channel), channel
    for level in range(levels):
        smoother = ndimage.convolve(low, spread(2**level), mode="nearest")
        high, low = high + low - smoother, smoother
    return high, low


@pytest.mark.parametrize("levels", [1, 3, 5, 8])
def test_wavelet_is_scipy_s_a_trous_decomposition_up_to_the_border(levels: int) -> None:
    restored, reference = picture(0, 0.3, 0.6), picture(1, 0.35, 0.55)
    fixed = fix_colors(restored, reference, "wavelet", levels)
    for index in np.ndindex(2, 3):
        high, _ = decompose(restored[index].double().numpy(), levels)
        _, low = decompose(reference[index].double().numpy(), levels)
        np.testing.assert_allclose(fixed[index].numpy(), high + low, atol=1e-6)
    assert (fixed - restored).abs().max() > 1e-3


def test_the_levels_of_a_low_pass_are_one_convolution_with_the_composed_kernel() -> None:
    """Of a single bright pixel the low-pass is the kernel itself, which numpy composes here."""
    taps = np.ones(1)
    for level in range(4):
        spread_taps = np.zeros(2 * 2**level + 1)
        spread_taps[:: 2**level] = np.array([1, 2, 1]) / 4
        taps = np.convolve(taps, spread_taps)
        dot = torch.zeros(1, 1, 61, 61, dtype=torch.float64)
        dot[..., 30, 30] = 1
        reach, found = len(taps) // 2, low_frequencies(dot, level + 1)[0, 0].numpy()
        np.testing.assert_allclose(found[30 - reach : 31 + reach, 30 - reach : 31 + reach], np.outer(taps, taps))
        assert found.sum() == pytest.approx(1)


def test_without_levels_given_there_are_the_five_published_ones() -> None:
    restored, reference = picture(0, 0, 1), picture(1, 0, 1)
    fixed = fix_colors(restored, reference, "wavelet")
    assert torch.equal(fixed, fix_colors(restored, reference, "wavelet", 5))
    assert torch.equal(fixed, fix_colors(restored, reference, "wavelet", RestoringConfig().wavelet_levels))
    assert not torch.equal(fixed, fix_colors(restored, reference, "wavelet", 3))


def test_low_frequencies_of_a_constant_picture_are_the_picture() -> None:
    torch.testing.assert_close(low_frequencies(torch.full((1, 3, 9, 5), 0.3)), torch.full((1, 3, 9, 5), 0.3))


def test_adain_takes_mean_and_deviation_of_each_channel() -> None:
    restored, reference = picture(0, 0.1, 0.9), picture(1, 0.4, 0.6)
    fixed = fix_colors(restored, reference, "adain").numpy()
    for moment in (np.mean, np.std):
        np.testing.assert_allclose(moment(fixed, axis=(2, 3)), moment(reference.numpy(), axis=(2, 3)), atol=1e-5)
    for index in np.ndindex(2, 3):
        assert np.corrcoef(fixed[index].ravel(), restored[index].numpy().ravel())[0, 1] == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("method", ["wavelet", "adain"])
def test_fixed_colours_stay_in_range_also_without_details(method: str) -> None:
    for restored in (torch.full((1, 3, 20, 20), 0.2), torch.rand(1, 3, 20, 20)):
        fixed = fix_colors(restored, torch.ones(1, 3, 20, 20), method)
        assert fixed.isfinite().all() and 0 <= fixed.min() and fixed.max() <= 1


def test_color_fix_none_returns_the_picture_itself() -> None:
    restored = picture(0, 0, 1)
    assert fix_colors(restored, picture(1, 0, 1), "none") is restored


def test_color_fix_refuses_pictures_of_different_sizes() -> None:
    with pytest.raises(ValueError, match="differ"):
        fix_colors(torch.zeros(1, 3, 8, 8), torch.zeros(1, 3, 8, 9), "wavelet")


def test_the_low_pass_looks_as_far_as_it_says() -> None:
    far = torch.zeros(1, 3, 150, 1)
    far[:, :, 75] = 1
    seen = low_frequencies(far)[0, 0, :, 0].nonzero()[:, 0]
    assert (int(seen.min()), int(seen.max())) == (75 - wavelet_reach(5), 75 + wavelet_reach(5))


def test_moments_of_parts_are_those_of_the_whole() -> None:
    restored, reference = picture(0, 0.1, 0.9)[0], picture(1, 0.4, 0.6)[0]
    cut = (slice(0, 7), slice(7, 50))
    own, wanted = (Moments.of_parts(image[:, rows] for rows in cut) for image in (restored, reference))
    np.testing.assert_allclose(own.std_B311[:, 0, 0], restored.double().numpy().std((1, 2)), atol=1e-9)
    parts = [adain(restored[:, rows], own, wanted) for rows in cut]
    whole = fix_colors(restored[None], reference[None], "adain")[0]
    torch.testing.assert_close(torch.cat(parts, dim=1), whole, atol=1e-6, rtol=0)
