"""Sizes are as requested, values stay in range, padding is undone."""

import numpy as np
import pytest
import torch
from PIL import Image

from lit_pure.images.geometry import enlarge_part, enlarge_rounded, pad_to_square, resize, resize_rounded, unpad


def noise(*shape: int) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(0))


def test_resize_keeps_constants_and_range() -> None:
    torch.testing.assert_close(resize(torch.full((1, 3, 9, 7), 0.3), 20, 31), torch.full((1, 3, 20, 31), 0.3))
    checks_B3HW = (torch.arange(16)[:, None] + torch.arange(16)).remainder(8).lt(4).float().expand(1, 3, 16, 16)
    large_B3HW = resize(checks_B3HW, 64, 64)
    assert large_B3HW.min() == 0 and large_B3HW.max() == 1  # bicubic alone overshoots


def test_resize_is_antialiased() -> None:
    stripes_B3HW = torch.arange(63).remainder(2).float().expand(1, 3, 63, 63)
    assert (resize(stripes_B3HW, 21, 21)[..., 2:-2] - 0.5).abs().max() < 0.05


def test_resize_to_its_own_size_changes_nothing() -> None:
    image_B3HW = noise(2, 3, 8, 8)
    assert torch.equal(resize(image_B3HW, 8, 8), image_B3HW)


@pytest.mark.parametrize("scale", [1, 2, 3, 4, 5, 16])
@pytest.mark.parametrize(("height", "width"), [(23, 31), (2, 40), (9, 3)])
def test_enlarging_a_part_gives_that_part_of_the_enlarged_picture(scale: int, height: int, width: int) -> None:
    image_3hw = noise(3, height, width).double()  # torch's own weights are off by 3e-6 in float32
    whole_3HW = resize(image_3hw[None], height * scale, width * scale)[0]
    random = torch.Generator().manual_seed(1)
    for _ in range(20):
        top, left = (int(torch.randint(side * scale, (), generator=random)) for side in (height, width))
        part_3HW = enlarge_part(image_3hw, scale, top, left, 17, 24)
        torch.testing.assert_close(part_3HW, whole_3HW[:, top : top + 17, left : left + 24], atol=1e-12, rtol=0)


def test_enlarging_a_part_outside_the_picture_is_refused() -> None:
    with pytest.raises(ValueError, match="no part"):
        enlarge_part(noise(3, 5, 7), 4, 20, 0, 8, 8)
    with pytest.raises(ValueError, match="enlarged 0 times"):
        enlarge_part(noise(3, 5, 7), 0, 0, 0, 8, 8)


def test_padding_repeats_the_edge_and_is_undone() -> None:
    image_3HW = noise(3, 5, 7)
    square_3HW = pad_to_square(image_3HW, 20)
    assert square_3HW.shape == (3, 20, 20)
    assert torch.equal(square_3HW[:, 19, 19], image_3HW[:, 4, 6])
    assert torch.equal(square_3HW[:, 2, 12], image_3HW[:, 2, 6])
    assert torch.equal(unpad(square_3HW, 5, 7), image_3HW)


def test_resizing_padding_and_cutting_refuse_impossible_sizes() -> None:
    image_3HW = noise(3, 5, 7)
    with pytest.raises(ValueError, match="batch"):
        resize(image_3HW, 4, 4)
    with pytest.raises(ValueError, match="at least 1"):
        resize(image_3HW[None], 0, 4)
    with pytest.raises(ValueError, match="tiles"):
        pad_to_square(image_3HW, 6)
    with pytest.raises(ValueError, match="cannot cut"):
        unpad(image_3HW, 6, 7)


def test_resize_is_torch_s_bicubic_with_antialias() -> None:
    lq_B3hw = torch.rand(2, 3, 16, 16)
    expected = torch.nn.functional.interpolate(lq_B3hw, (64, 64), mode="bicubic", antialias=True).clamp(0, 1)
    assert torch.equal(resize(lq_B3hw, 64, 64), expected)


@pytest.mark.parametrize("size", [(44, 64), (88, 128), (11, 16)])
def test_with_8_bits_pictures_are_resized_as_pillow_does(size: tuple[int, int]) -> None:
    levels = torch.randint(256, (22, 32, 3), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)
    expected = np.asarray(Image.fromarray(levels.numpy()).resize(size[::-1], Image.Resampling.BICUBIC))
    photo = levels.permute(2, 0, 1)[None].float() / 255
    rounded, exact = (
        np.abs((by(photo, *size)[0].permute(1, 2, 0) * 255).round().numpy() - expected)
        for by in (resize_rounded, resize)
    )
    assert rounded.max() <= 1 and (rounded > 0).mean() < 0.001, "torch keeps fewer digits of its weights"
    assert (exact > 0).mean() > 0.05, "or no other arithmetic would be needed"


def test_a_part_with_8_bits_is_that_part_of_the_whole() -> None:
    photo = torch.rand(3, 20, 30, generator=torch.Generator().manual_seed(2))
    whole = enlarge_rounded(photo, 4)
    assert torch.equal(enlarge_part(photo, 4, 13, 22, 40, 50, enlarge_rounded), whole[:, 13:53, 22:72])
