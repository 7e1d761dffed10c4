"""Maps beside their pictures: place, size, direction of colours, legend."""

import pytest
import torch

from lit_pure.images.color import luma
from lit_pure.images.grid import GAP, HEADER
from lit_pure.images.maps import BAR, LEGEND, dark_map, large_legend, maps_beside


def test_a_map_is_darker_where_its_numbers_are_higher() -> None:
    """The order of figure 3 in arXiv 2503.11073."""
    brightness = luma(dark_map(torch.linspace(0, 8, 20)[None], 0, 8))[0]
    assert bool((brightness.diff() < 0).all())


def test_each_number_of_a_map_covers_its_part_of_the_picture() -> None:
    maps = torch.tensor([[[0.0, 1.0], [2.0, 3.0]], [[3.0, 2.0], [1.0, 0.0]]])
    pictures = torch.rand(2, 3, 40, 60, generator=torch.Generator().manual_seed(0))
    figure = maps_beside({"restored": pictures}, "entropy", maps, "nats")
    assert figure.shape == (3, HEADER + 2 * (40 + GAP), 2 * (60 + GAP) + LEGEND)
    first, second = (figure[:, HEADER + row * (40 + GAP) :][:, :40] for row in range(2))
    torch.testing.assert_close(first[:, :, :60], pictures[0])
    drawn = dark_map(maps[0], 0, 3).repeat_interleave(20, 1).repeat_interleave(30, 2)
    assert torch.equal(first[:, :, 60 + GAP : 120 + GAP], drawn)
    assert torch.equal(second[:, :, 60 + GAP : 120 + GAP], drawn.flip(1, 2)), "one range for all maps"


def test_the_legend_of_a_map_goes_from_the_highest_down_to_the_lowest() -> None:
    figure = maps_beside({"x": torch.zeros(1, 3, 64, 64)}, "map", torch.tensor([[[2.0, 4.0]]]), "nats", (1.0, 5.0))
    bar = figure[:, HEADER : HEADER + 64, -LEGEND + 2 : -LEGEND + 2 + BAR]
    torch.testing.assert_close(bar[:, [0, -1], 0], dark_map(torch.tensor([[5.0], [1.0]]), 1, 5)[:, :, 0])
    assert bool((luma(bar).diff(dim=0) >= 0).all())
    words = figure[:, HEADER : HEADER + 64, -LEGEND + 2 + BAR :]
    assert float(words.max()) == 1, "numbers stand beside it"


@pytest.mark.parametrize("value", [2.5, float("nan")])
def test_maps_without_range_are_drawn(value: float) -> None:
    figure = maps_beside({"x": torch.zeros(1, 3, 8, 8)}, "map", torch.full((1, 2, 2), value), "nats")
    assert bool(figure.isfinite().all())


def test_wrong_numbers_of_maps_are_refused() -> None:
    for columns, maps in (({}, 1), ({"x": torch.zeros(2, 3, 8, 8)}, 1), ({"x": torch.zeros(0, 3, 8, 8)}, 0)):
        with pytest.raises(ValueError, match=f"cannot lay out {maps} maps"):
            maps_beside(columns, "map", torch.zeros(maps, 2, 2), "nats")


@pytest.mark.parametrize(("height", "times"), [(60, 1), (511, 1), (1101, 2)])
def test_the_legend_of_a_map_alone_grows_with_it(height: int, times: int) -> None:
    drawn = large_legend(0, 8, "nats", height)
    assert drawn.dtype == torch.uint8 and drawn.shape == (3, height, times * LEGEND)
    ends = dark_map(torch.tensor([[8.0, 0.0]]), 0, 8)[:, 0]
    torch.testing.assert_close(drawn[:, [0, -1], 2 * times].float() / 255, ends, atol=0.02, rtol=0)
    assert not torch.equal(drawn, large_legend(0, 8, "bits", height)), "its unit is written"
