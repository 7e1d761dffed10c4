"""Means, intervals and paired differences against what is computed here by hand."""

import numpy as np
import pytest
from scipy import stats

from lit_pure.notebook.entrants import entrants
from lit_pure.notebook.scores import differences, dots, means, table

GOOD, POOR = (26.0, 27.0, 25.0, 28.0, 26.0, 29.0), (25.0, 28.0, 24.0, 27.0, 26.0, 20.0)


@pytest.fixture
def methods(make_run):
    return entrants([make_run("a", GOOD), make_run("b", POOR)])


def test_means_are_those_of_the_file_inside_their_intervals(methods):
    figures = means(methods)
    for label, values in (("a/version_0", GOOD), ("b/version_0", POOR), ("bicubic", range(20, 26))):
        row = figures.loc["demo", label, "psnr"]
        assert row["mean"] == pytest.approx(np.mean(list(values))) and row["n"] == 6
        assert row["low"] < row["mean"] < row["high"]


def test_the_table_reads_mean_and_interval(methods):
    figures = means(methods)
    row = figures.loc["demo", "a/version_0", "psnr"]
    cell = table(figures).loc[("demo", "a/version_0"), "PSNR ↑"]
    assert cell == f"{row['mean']:.2f} [{row['low']:.2f}, {row['high']:.2f}]"
    assert table(figures).loc[("demo", "bicubic"), "pictures"] == "6"


def test_differences_are_taken_picture_by_picture(methods):
    found = differences(methods, against=methods["b/version_0"]).loc[("a/version_0", "PSNR ↑")]
    apart = np.subtract(GOOD, POOR)
    wins, losses = int((apart > 0).sum()), int((apart < 0).sum())
    assert found["minus b/version_0"] == f"{apart.mean():+.2f}"
    assert (found["wins"], found["losses"], found["ties"]) == (wins, losses, 6 - wins - losses) == (4, 1, 1)
    assert float(found["p (sign test)"]) == pytest.approx(stats.binomtest(1, 5).pvalue, rel=1e-3)


def test_who_saw_other_pictures_is_left_out_of_differences(make_run):
    methods = entrants([make_run("a", GOOD), make_run("b", POOR), make_run("c", POOR, overrides=["data.size=64"])])
    found = differences(methods, against=methods["a/version_0"])
    assert set(found.index.get_level_values("method")) == {"bicubic", "b/version_0"}


def test_dots_stand_at_the_means(methods):
    [place] = [place for place in dots(methods, means(methods)).axes if place.get_title(loc="left")]
    drawn = [line.get_xdata()[0] for line in place.lines if line.get_marker() == "o"]
    assert drawn == pytest.approx([np.mean(range(20, 26)), np.mean(GOOD), np.mean(POOR)])
    assert [text.get_text() for text in place.get_yticklabels()] == ["bicubic", "a/version_0", "b/version_0"]
