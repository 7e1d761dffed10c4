"""JPEG against DiffJPEG and against properties of compression."""

import pytest
import torch
from torch import Tensor

from lit_pure.degradation.jpeg import jpeg


@pytest.mark.parametrize("crop", [(96, 64), (91, 57), (7, 3)])
def test_jpeg_equals_basicsr_s_diffjpeg(basicsr: None, hq_B3HW: Tensor, crop: tuple[int, int]) -> None:
    from basicsr.utils.diffjpeg import DiffJPEG

    image = hq_B3HW[:, :, : crop[0], : crop[1]]
    quality = torch.tensor([12.0, 43.7, 95.0])
    with torch.no_grad():
        expected = DiffJPEG(differentiable=False)(image, quality.clone())  # it writes into its argument
    found = torch.stack([jpeg(one, q) for one, q in zip(image, quality.tolist(), strict=True)])
    difference = (found - expected).abs()
    assert (difference <= 1 / 255).float().mean() > 0.99
    assert difference.mean() < 1e-4


def test_the_error_of_jpeg_falls_with_quality(hq_B3HW: Tensor) -> None:
    image = hq_B3HW[0]
    error = torch.stack([(jpeg(image, quality) - image).square().mean() for quality in (10.0, 40.0, 70.0, 95.0)])
    assert (error.diff() < 0).all() and error[0] > 1e-4


def test_jpeg_of_the_finest_quality_keeps_a_gray_image(hq_B3HW: Tensor) -> None:
    gray = hq_B3HW[0, :1].expand(3, -1, -1)  # chroma would be averaged
    torch.testing.assert_close(jpeg(gray, 100.0), gray, atol=2.5 / 255, rtol=0)


def test_jpeg_refuses_bad_shapes_and_qualities(hq_B3HW: Tensor) -> None:
    with pytest.raises(ValueError, match=r"give \(3, H, W\)"):
        jpeg(hq_B3HW, 50.0)
    for quality in (0.0, 101.0, float("nan")):
        with pytest.raises(ValueError, match=f"quality {quality} is out of range"):
            jpeg(hq_B3HW[0], quality)
