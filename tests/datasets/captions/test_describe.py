"""Descriptions say what is in the pixels, differ between pictures, and are stable."""

import re

import pytest
import torch

from lit_pure.config.data import PhotosConfig
from lit_pure.datasets.captions.describe import COLORS, describe
from lit_pure.datasets.photos import Crops


def flat(*rgb: int, height: int = 64, width: int = 64) -> torch.Tensor:
    return torch.tensor(rgb, dtype=torch.uint8)[:, None, None].expand(3, height, width).contiguous()


@pytest.mark.parametrize(
    ("rgb", "color"),
    [
        ((5, 5, 5), "black"),
        ((128, 128, 128), "grey"),
        ((250, 250, 250), "white"),
        ((200, 20, 20), "red"),
        ((200, 20, 40), "red"),
        ((250, 130, 20), "orange"),
        ((120, 70, 30), "brown"),
        ((230, 220, 40), "yellow"),
        ((40, 160, 50), "green"),
        ((30, 150, 150), "teal"),
        ((30, 60, 200), "blue"),
        ((120, 40, 180), "purple"),
        ((240, 100, 200), "pink"),
    ],
)
def test_captions_from_pixels_name_colours(rgb: tuple[int, int, int], color: str) -> None:
    assert f"mostly {color}." in describe(flat(*rgb))


def test_every_colour_word_is_tested() -> None:
    marks = test_captions_from_pixels_name_colours.pytestmark  # type: ignore[attr-defined]
    assert {color for _, color in marks[0].args[1]} == set(COLORS)


def test_captions_from_pixels_name_layout_light_and_texture() -> None:
    sky_3HW = torch.cat([flat(90, 140, 250, height=32), flat(20, 60, 20, height=32)], 1)
    assert "The top is much brighter and mainly blue, the bottom mainly green." in describe(sky_3HW)
    assert "The left is much darker and mainly green, the right mainly blue." in describe(sky_3HW.flip(1).mT)
    assert "A very dark picture" in describe(flat(3, 3, 3)) and "A very bright picture" in describe(flat(250, 250, 250))
    assert "smooth all over" in describe(flat(9, 99, 9))
    noisy_3HW = flat(128, 128, 128)
    noisy_3HW[:, 44:, 44:] = torch.randint(0, 256, (20, 20), generator=torch.Generator().manual_seed(0)).byte()
    assert "most detail at the lower right" in describe(noisy_3HW)


def test_real_crops_get_short_plain_varied_and_stable_captions() -> None:
    crops = Crops(PhotosConfig(crops=4), 128, seed=0, training=False)
    items = [crops[0, index] for index in range(len(crops))]
    captions = [item["caption"] for item in items]
    assert len(set(captions)) > 0.9 * len(captions)
    assert captions == [describe(item["hq_3HW"].clone()) for item in items]
    for caption in captions:
        assert 15 <= len(caption.split()) <= 48 and caption.isascii()
        assert re.fullmatch(r"([A-Z][a-z, ]*\. ?){2,3}", caption), caption


@pytest.mark.parametrize("size", [(3, 3), (3, 50), (32, 32)])
def test_small_pictures_have_captions(size: tuple[int, int]) -> None:
    assert describe(flat(10, 20, 30, height=size[0], width=size[1]))


def test_describe_refuses_floats() -> None:
    with pytest.raises(ValueError, match="uint8"):
        describe(torch.rand(3, 8, 8))
