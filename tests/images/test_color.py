"""Luma weights, and a colour map that keeps the order of numbers."""

import pytest
import torch

from lit_pure.images.color import NOT_MEASURED, heatmap, luma


def test_luma_has_the_weights_of_bt_601() -> None:
    primaries_3HW = torch.eye(3)[:, None]
    torch.testing.assert_close(luma(primaries_3HW)[0], torch.tensor([0.299, 0.587, 0.114]))
    torch.testing.assert_close(luma(torch.ones(2, 3, 4, 5)), torch.ones(2, 4, 5))
    with pytest.raises(ValueError, match="RGB"):
        luma(torch.zeros(1, 4, 4))


def test_heatmap_is_ordered_by_luma() -> None:
    picture_3hw = heatmap(torch.linspace(-1, 3, 400)[None], low=-1, high=3)
    assert picture_3hw.shape == (3, 1, 400) and picture_3hw.dtype == torch.float32
    assert picture_3hw.min() >= 0 and picture_3hw.max() <= 1
    steps = luma(picture_3hw)[0].diff()
    assert steps.min() > 0 and steps.max() < 4 * steps.mean()


def test_heatmap_clamps_enlarges_and_marks_nan() -> None:
    map_hw = torch.tensor([[0.0, 1.0, float("nan")], [-9.0, float("inf"), 0.5]])
    picture_3hw = heatmap(map_hw, low=0, high=1, scale=4)
    assert picture_3hw.shape == (3, 8, 12)
    assert torch.equal(picture_3hw[:, 0, 0], picture_3hw[:, 7, 0])
    assert torch.equal(picture_3hw[:, 3, 4], picture_3hw[:, 4, 7])
    assert torch.equal(picture_3hw[:, 1, 9], torch.full((3,), NOT_MEASURED))


def test_heatmap_refuses_an_empty_range_and_what_is_no_map() -> None:
    with pytest.raises(ValueError, match="empty"):
        heatmap(torch.zeros(2, 2), low=1, high=1)
    with pytest.raises(ValueError, match="map"):
        heatmap(torch.zeros(1, 2, 2), low=0, high=1)
    with pytest.raises(ValueError, match="scale 0"):
        heatmap(torch.zeros(2, 2), low=0, high=1, scale=0)
