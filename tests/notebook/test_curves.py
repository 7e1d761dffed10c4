"""Curves against events written by torch's own writer, and smoothing against its closed form."""

import numpy as np
import pytest
from torch.utils.tensorboard import SummaryWriter

from lit_pure.notebook.curves import LEAST_SMOOTHED, overlay, read_curves, smooth, tags
from lit_pure.notebook.style import colors_of


def write(run, tag, values, start=0):
    with SummaryWriter(str(run.folder)) as writer:
        for step, value in enumerate(values):
            writer.add_scalar(tag, value, start + step)


def test_all_values_of_several_files_come_back_in_order(make_run):
    run = make_run("one")
    values = np.sin(np.arange(3000)).astype(np.float32)  # more than TensorBoard keeps by itself
    write(run, "train/loss", values[:1500])
    write(run, "train/loss", values[1500:], start=1500)
    write(run, "val/loss", [2.0])
    found = read_curves(run)
    assert set(found) == {"train/loss", "val/loss"}
    np.testing.assert_array_equal(found["train/loss"].steps_N, np.arange(3000))
    np.testing.assert_allclose(found["train/loss"].values_N, values)


def test_smoothing_is_a_weighted_mean_of_the_past():
    """y_n = sum w^(n-i) x_i / sum w^(n-i): TensorBoard's recursion and its correction, written out."""
    values, weight = np.random.default_rng(0).normal(size=30), 0.7
    powers = [weight ** np.arange(n, -1, -1) for n in range(30)]
    expected = [np.sum(power * values[: n + 1]) / power.sum() for n, power in enumerate(powers)]
    np.testing.assert_allclose(smooth(values, weight), expected)
    np.testing.assert_array_equal(smooth(values, 0.0), values)


def test_smoothing_steps_over_what_is_not_finite():
    values = np.array([1.0, np.nan, 3.0, np.inf, 5.0])
    found = smooth(values, 0.5)
    np.testing.assert_allclose(found[[0, 2, 4]], smooth(np.array([1.0, 3.0, 5.0]), 0.5))
    assert np.isnan(found[1]) and np.isinf(found[3])


@pytest.mark.parametrize("weight", [-0.1, 1.0])
def test_smoothing_outside_its_range_is_refused(weight):
    with pytest.raises(ValueError, match="not in"):
        smooth(np.ones(3), weight)


def test_a_panel_has_the_curves_of_those_that_logged_it(make_run):
    one, two = make_run("one"), make_run("two")
    falling = np.linspace(3.0, 1.0, LEAST_SMOOTHED)
    write(one, "train/loss", falling)
    write(two, "train/loss", falling + 1)
    write(two, "val/loss", [2.0, 1.0])
    figure = overlay([one, two], ["train/loss", "val/loss", "val/psnr"], smoothing=0.5, log=True)
    drawn = {place.get_title(loc="left"): place for place in figure.axes if place.get_title(loc="left")}
    lines = [line.get_ydata() for line in drawn["train/loss"].lines]
    assert len(lines) == 4
    np.testing.assert_allclose(lines[0], falling, rtol=1e-6)
    np.testing.assert_allclose(lines[1], smooth(falling, 0.5), rtol=1e-6)
    [few] = drawn["val/loss"].lines  # too few to smooth
    assert list(few.get_ydata()) == [2.0, 1.0] and drawn["val/loss"].get_yscale() == "log"
    assert [text.get_text() for text in drawn["val/psnr"].texts] == ["no run logged this tag"]
    assert [text.get_text() for text in figure.legends[0].texts] == ["one/version_0", "two/version_0"]


def test_losses_of_other_families_are_not_on_one_axis(make_run):
    runs = [make_run("a"), make_run("vq", experiment="tokenizer/nano"), make_run("b")]
    for run in runs:
        write(run, "train/loss", [2.0, 1.0])
    by_default, asked = (overlay(runs, ["train/loss"], family=family) for family in ("", "tokenizer"))
    assert [text.get_text() for text in by_default.legends[0].texts] == ["a/version_0", "b/version_0"]
    assert "left out: vq/version_0 (tokenizer)" in by_default.get_supxlabel()
    assert [text.get_text() for text in asked.legends[0].texts] == ["vq/version_0"]
    assert asked.axes[0].lines[0].get_color() == colors_of(["a", "vq", "b"])["vq"]
    with pytest.raises(ValueError, match="no run of family dem; there are pure, tokenizer"):
        overlay(runs, ["train/loss"], family="dem")


def test_tags_are_counted_for_each_run(make_run):
    one, two = make_run("one"), make_run("two")
    write(one, "train/loss", [3.0, 2.0, 1.0])
    write(two, "val/loss", [1.0])
    table = tags([one, two])
    assert table.loc["train/loss"].tolist() == [3, 0] and table.loc["val/loss"].tolist() == [0, 1]
