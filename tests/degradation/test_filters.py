"""Convolution and sharpening against basicsr."""

import numpy as np
import torch
from torch import Tensor

from lit_pure.degradation.filters import convolve, sharpen
from lit_pure.degradation.kernels import Kernel


def test_convolve_equals_basicsr_s_filter2d(basicsr: None, hq_B3HW: Tensor) -> None:
    from basicsr.utils.img_process_util import filter2D

    kernel = torch.arange(35.0).reshape(1, 5, 7)[:, :, 1:6].contiguous() / 100  # asymmetric: would show a flip
    expected = filter2D(hq_B3HW, kernel)
    found = torch.stack([convolve(image, kernel[0]) for image in hq_B3HW])
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def test_a_padded_kernel_blurs_the_same(hq_B3HW: Tensor) -> None:
    kernel = Kernel("aniso", 9, 2.0, 1.0, 0.5)
    small, padded = torch.from_numpy(kernel.matrix()), torch.from_numpy(kernel.matrix(pad_to=21))
    torch.testing.assert_close(convolve(hq_B3HW[0], small), convolve(hq_B3HW[0], padded))


def test_a_kernel_may_be_larger_than_the_image() -> None:
    image_3HW = torch.rand(3, 4, 2, generator=torch.Generator().manual_seed(0))
    padded = np.pad(image_3HW.numpy(), ((0, 0), (10, 10), (10, 10)), mode="reflect")  # numpy mirrors repeatedly
    kernel = torch.from_numpy(Kernel("aniso", 21, 3.0, 2.0, 0.5).matrix())
    expected = torch.nn.functional.conv2d(torch.from_numpy(padded)[:, None], kernel[None, None])[:, 0]
    torch.testing.assert_close(convolve(image_3HW, kernel), expected)
    torch.testing.assert_close(convolve(torch.full((3, 1, 1), 0.25), kernel), torch.full((3, 1, 1), 0.25))


def test_sharpen_equals_basicsr_s_usm_sharp(basicsr: None, hq_B3HW: Tensor) -> None:
    from basicsr.utils.img_process_util import USMSharp

    expected = USMSharp()(hq_B3HW)
    found = torch.stack([sharpen(image) for image in hq_B3HW])
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)
    assert (found - hq_B3HW).abs().max() > 0.05
    assert found.min() >= 0 and found.max() <= 1
