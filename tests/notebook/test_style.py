"""Figures stay out of pyplot, and settings of others neither change them nor are changed."""

import matplotlib
import numpy as np
import pytest
import torch
from matplotlib import pyplot

from lit_pure.images.color import heatmap
from lit_pure.notebook.style import LIGHT_IS_HIGH, Panel, limits_of, picture_grid, shorten_title


def test_a_figure_is_never_open():
    before = dict(matplotlib.rcParams)
    figure = picture_grid([Panel("one", torch.rand(3, 8, 8)), Panel("two", None, "not kept")], 2, "title")
    assert not pyplot.get_fignums() and dict(matplotlib.rcParams) == before
    assert figure.axes[0].images[0].get_interpolation() == "nearest"
    assert figure.axes[1].texts[0].get_text() == "not kept"
    with pytest.raises(ValueError, match="no pictures"):
        picture_grid([], 2)


def test_the_bars_colours_are_those_of_heat_maps():
    numbers = torch.linspace(0, 1, 256)
    drawn = LIGHT_IS_HIGH(np.arange(256))[:, :3]
    np.testing.assert_allclose(drawn, heatmap(numbers[None], 0, 1)[:, 0].T.numpy(), atol=1e-6)


def test_long_titles_keep_their_end():
    place = picture_grid([Panel("", torch.rand(3, 8, 8))] * 4, 4, side=1.5).axes[0]
    assert shorten_title("short", place) == "short"
    cut = shorten_title("ablations/sampling/top2000/version_12\nPSNR 20.11", place)
    assert cut.startswith("..") and cut.endswith("version_12\nPSNR 20.11")


def test_a_flat_map_has_a_range():
    low, high = limits_of(torch.full((4, 4), 2.0))
    assert low < high
