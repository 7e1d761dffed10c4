"""Crops show the same place of every picture."""

import numpy as np
import pytest
import torch

from lit_pure.notebook.crops import Box, most_detailed_box, picture_names, side_by_side
from lit_pure.notebook.entrants import find_entrants

SCORES = (26.0, 27.0, 25.0)


def test_a_small_picture_is_cut_at_the_same_place():
    """Each LQ pixel stands for 4 x 4 pixels, also where the box cuts through one."""
    small_3hw = torch.arange(64.0).view(1, 8, 8).expand(3, 8, 8)
    large_3HW = small_3hw.repeat_interleave(4, 1).repeat_interleave(4, 2)
    box = Box(top=6, left=9, height=11, width=14)
    assert torch.equal(box.crop(small_3hw, (32, 32)), box.crop(large_3HW, (32, 32)))
    assert torch.equal(box.crop(large_3HW, (32, 32)), large_3HW[:, 6:17, 9:23])


def test_the_busiest_box_is_where_the_detail_is():
    image_3HW = torch.full((3, 40, 40), 0.5)
    image_3HW[:, 20:28, 5:13] = torch.from_numpy(np.random.default_rng(0).random((3, 8, 8), dtype=np.float32))
    box = most_detailed_box(image_3HW, 10)
    assert box.top <= 20 and box.top + 10 >= 28 and box.left <= 5 and box.left + 10 >= 13
    with pytest.raises(ValueError, match="does not fit"):
        most_detailed_box(image_3HW, 41)


def test_all_versions_are_shown_in_the_box(make_run):
    methods = find_entrants([make_run("a", SCORES, shade=0.2), make_run("b", SCORES, shade=0.8)])
    box = Box(8, 4, 12, 16)
    figure = side_by_side(methods, "demo/b", box, zoom=5)
    drawn = {place.get_title(loc="left"): place for place in figure.axes if place.images}
    assert list(drawn) == ["whole picture", "LQ", "bicubic", "a/version_0", "b/version_0", "ground truth"]
    assert all(drawn[title].images[0].get_array().shape == (12, 16, 3) for title in list(drawn)[1:])
    np.testing.assert_allclose(drawn["a/version_0"].images[0].get_array(), 0.2, atol=0.01)
    whole, truth = (np.asarray(drawn[title].images[0].get_array()) for title in ("whole picture", "ground truth"))
    np.testing.assert_array_equal(truth, whole[8:20, 4:20])
    [frame] = drawn["whole picture"].patches
    assert (*frame.get_xy(), frame.get_width(), frame.get_height()) == (3.5, 7.5, 16, 12)


def test_another_picture_of_the_same_name_is_left_out_and_named(make_run):
    methods = find_entrants([make_run("a", SCORES), make_run("b", SCORES, overrides=["data.size=64"])])
    figure = side_by_side(methods, "demo/b")
    assert "b/version_0" not in [place.get_title(loc="left") for place in figure.axes]
    assert "left out: b/version_0" in figure.get_supxlabel()


def test_a_restorer_decides_and_not_the_tokenizer_before_it(make_run):
    vq = make_run("vq", SCORES, bicubic=(), experiment="tokenizer/nano", method="reconstructed", truth=1)
    figure = side_by_side(find_entrants([vq, make_run("a", SCORES)]), "demo/b")
    titles = [place.get_title(loc="left") for place in figure.axes]
    assert "a/version_0" in titles and "left out: vq/version_0 (reconstructed)" in figure.get_supxlabel()


def test_what_cannot_be_shown_is_told(make_run):
    methods = find_entrants([make_run("a", SCORES)])
    assert picture_names(methods) == ["demo/a", "demo/b", "demo/c"]
    with pytest.raises(ValueError, match="evaluation.keep"):
        side_by_side(methods, "demo/z")
    with pytest.raises(ValueError, match="is outside of the picture of 32 x 32 px"):
        side_by_side(methods, "demo/a", Box(30, 0, 8, 8))
    with pytest.raises(ValueError, match="zoom 0"):
        side_by_side(methods, "demo/a", zoom=0)
