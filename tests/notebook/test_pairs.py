"""Scatter and extremes: what is drawn is what was scored."""

import numpy as np
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text

from lit_pure.notebook.entrants import find_entrants
from lit_pure.notebook.pairs import LABELLED, absolute_difference, extremes, scatter

GOOD, POOR = (26.0, 27.0, 25.0, 28.0, 26.0, 29.0), (25.0, 28.0, 24.0, 27.0, 26.0, 20.0)


@pytest.fixture
def two(make_run):
    found = find_entrants([make_run("a", GOOD, shade=0.5), make_run("b", POOR, shade=0.75)])
    return found["a/version_0"], found["b/version_0"]


def test_every_picture_is_a_point_and_the_outlier_is_named(two):
    figure = scatter(*two, "psnr")
    place = figure.axes[0]
    points = np.concatenate([np.asarray(drawn.get_offsets()) for drawn in place.collections])
    assert sorted(map(tuple, points.tolist())) == sorted(zip(POOR, GOOD, strict=True))
    assert "f" in [text.get_text() for text in place.texts]
    assert place.get_xlim() == place.get_ylim()
    assert [text.get_text() for text in place.get_legend().texts] == [
        "a/version_0 is better: 4",
        "b/version_0 is better: 1",
        "equal: 1",
    ]
    assert [bar.get_height() for bar in figure.axes[1].patches] == sorted(np.subtract(GOOD, POOR), reverse=True)


def test_names_of_close_points_do_not_cover_each_other(make_run):
    close = tuple(25 + 0.01 * index for index in range(6))
    found = find_entrants([make_run("a", close), make_run("b", tuple(value + 0.02 for value in close))])
    figure = scatter(found["a/version_0"], found["b/version_0"], "psnr")
    figure.set_layout_engine("none")  # boxes of the state that is measured
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    boxes = [Text.get_window_extent(text, canvas.get_renderer()) for text in figure.axes[0].texts]
    assert len(boxes) == LABELLED
    assert not any(one.overlaps(other) for index, one in enumerate(boxes) for other in boxes[index + 1 :])


def test_pictures_of_one_test_set_are_drawn(make_run):
    found = find_entrants([make_run("a", GOOD, more=(50.0, 51.0)), make_run("b", POOR, more=(49.0, 52.0))])
    two = found["a/version_0"], found["b/version_0"]
    [place, bars] = scatter(*two, "psnr", "second").axes
    assert sum(len(drawn.get_offsets()) for drawn in place.collections) == 2 == len(bars.patches)
    assert "on second" in place.get_title(loc="left") and bars.get_ylabel().endswith("[dB]")
    figure = extremes(*two, "psnr", count=9)
    assert figure.get_supxlabel() == "test set demo"
    assert len([place for place in figure.axes if place.get_title(loc="left").endswith("LQ")]) == 6


def test_differences_beyond_the_bar_are_marked(two):
    figure = extremes(*two, "psnr", count=1)
    bars = [image.colorbar for place in figure.axes for image in place.images if image.colorbar]
    assert [bar.extend for bar in bars] == ["max", "max"]


def test_the_largest_win_comes_first_and_the_largest_loss_last(two):
    titles = [place.get_title(loc="left") for place in extremes(*two, "psnr", count=1).axes]
    assert [title for title in titles if title.endswith("LQ")] == ["f\nLQ", "b\nLQ"]
    assert [title for title in titles if "PSNR" in title] == [
        "a/version_0\nPSNR 29.00",
        "b/version_0\nPSNR 20.00",
        "a/version_0\nPSNR 27.00",
        "b/version_0\nPSNR 28.00",
    ]


def test_a_picture_is_shown_once_where_there_are_few(two):
    titles = [place.get_title(loc="left") for place in extremes(*two, "psnr", count=5).axes]
    assert sorted(title[0] for title in titles if title.endswith("LQ")) == list("abcdef")


def test_pictures_that_were_not_kept_leave_a_note(two):
    for entrant in two:
        (entrant.run.folder / "images/demo/hq/f.png").unlink()
    figure = extremes(*two, "psnr", count=1)
    assert "not kept" in [text.get_text() for place in figure.axes for text in place.texts]


def test_the_difference_is_in_levels():
    black, grey = torch.zeros(3, 2, 2), torch.zeros(3, 2, 2)
    grey[:, 0, 0] = torch.tensor([30, 0, 60]) / 255
    torch.testing.assert_close(absolute_difference(black, grey), torch.tensor([[30.0, 0.0], [0.0, 0.0]]))
