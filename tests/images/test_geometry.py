"""Sizes come out as asked, values stay in range, padding is undone."""

import pytest
import torch

from lit_pure.images.geometry import pad_to_square, resize, shrink_to_fit, unpad


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


@pytest.mark.parametrize(("height", "width", "expected"), [(40, 20, (16, 8)), (9, 16, (9, 16)), (1000, 3, (16, 1))])
def test_shrink_to_fit(height: int, width: int, expected: tuple[int, int]) -> None:
    assert shrink_to_fit(noise(3, height, width), 16).shape == (3, *expected)


def test_padding_repeats_the_edge_and_is_undone() -> None:
    image_3HW = noise(3, 5, 7)
    square_3HW = pad_to_square(image_3HW, 20)
    assert square_3HW.shape == (3, 20, 20)
    assert torch.equal(square_3HW[:, 19, 19], image_3HW[:, 4, 6])
    assert torch.equal(square_3HW[:, 2, 12], image_3HW[:, 2, 6])
    assert torch.equal(unpad(square_3HW, 5, 7), image_3HW)


def test_impossible_sizes_are_refused() -> None:
    image_3HW = noise(3, 5, 7)
    with pytest.raises(ValueError, match="batch"):
        resize(image_3HW, 4, 4)
    with pytest.raises(ValueError, match="at least 1"):
        resize(image_3HW[None], 0, 4)
    with pytest.raises(ValueError, match="at least 1"):
        shrink_to_fit(image_3HW, 0)
    with pytest.raises(ValueError, match="shrink_to_fit"):
        pad_to_square(image_3HW, 6)
    with pytest.raises(ValueError, match="cannot cut"):
        unpad(image_3HW, 6, 7)
