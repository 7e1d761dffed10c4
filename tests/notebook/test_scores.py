"""Means, intervals and paired differences against what is computed here by hand."""

import numpy as np
import pytest
from scipy import stats

from lit_pure.metrics.intervals import bootstrap_mean
from lit_pure.notebook.entrants import find_entrants
from lit_pure.notebook.scores import differences, dots, means, table

GOOD = (26.0, 27.0, 25.0, 28.0, 26.0, 29.0, 27.5, 26.5)
POOR = (25.0, 28.0, 24.0, 27.0, 26.0, 20.0, 26.0, 25.5)


GROUP = "restored, 32 px"


@pytest.fixture
def methods(make_run):
    return find_entrants([make_run("a", GOOD), make_run("b", POOR)])


def test_means_are_those_of_the_file_inside_their_intervals(methods):
    figures = means(methods)
    for label, values in (("a/version_0", GOOD), ("b/version_0", POOR), ("bicubic", range(20, 28))):
        row = figures.loc["demo", GROUP, label, "psnr"]
        assert row["mean"] == pytest.approx(np.mean(list(values))) and row["n"] == 8
        assert row["low"] < row["mean"] < row["high"]


def test_the_table_reads_mean_and_interval(methods):
    figures = means(methods)
    row = figures.loc["demo", GROUP, "a/version_0", "psnr"]
    cell = table(figures).loc[("demo", GROUP, "a/version_0"), "PSNR ↑"]
    assert cell == f"{row['mean']:.2f} [{row['low']:.2f}, {row['high']:.2f}]"
    assert table(figures).loc[("demo", GROUP, "bicubic"), "pictures"] == "8"


def test_differences_are_taken_picture_by_picture(methods):
    found = differences(methods, against=methods["b/version_0"]).loc[("demo", "a/version_0", "PSNR ↑")]
    apart = np.subtract(GOOD, POOR)
    wins, losses = int((apart > 0).sum()), int((apart < 0).sum())
    assert found["minus b/version_0"] == f"{apart.mean():+.2f}"
    assert (found["wins"], found["losses"], found["ties"]) == (wins, losses, 8 - wins - losses) == (6, 1, 1)
    assert float(found["p (sign test)"]) == pytest.approx(stats.binomtest(1, 7).pvalue, rel=1e-3)


def test_test_sets_are_never_pooled(make_run):
    """The second set's difference is -10 and has no interval; pooled with the first it would hide."""
    methods = find_entrants([make_run("a", GOOD, more=(20.0, 30.0)), make_run("b", GOOD, more=(30.0, 40.0))])
    against = methods["b/version_0"]
    first, second = (differences(methods, against, test_set=name) for name in ("", "second"))
    assert set(first.index.get_level_values("test set")) == {"demo"}
    assert list(second.index) == [("second", "a/version_0", "PSNR ↑")]  # bicubic was not scored there
    row = second.iloc[0]
    assert (row["minus b/version_0"], row["95 % interval"], row["losses"]) == ("-10.00", "-", 2)
    assert table(means(methods)).index.tolist()[-2:] == [("second", GROUP, f"{name}/version_0") for name in "ab"]
    with pytest.raises(ValueError, match="no test set third; there are demo, second"):
        differences(methods, against, test_set="third")


def test_an_interval_keeps_to_the_metrics_range(make_run):
    values = (20.0, 20.0, 20.5, 79.0, 79.5, 80.0, 80.0, 80.0)
    assert bootstrap_mean(values, np.random.default_rng(0)).high > 80
    row = means(find_entrants([make_run("a", values)])).loc["demo", GROUP, "a/version_0", "psnr"]
    assert row["mean"] < row["high"] == 80


def test_a_tokenizer_is_no_dot_among_restorers(make_run):
    vq = make_run("vq", GOOD, bicubic=(), experiment="tokenizer/nano", method="reconstructed")
    methods = find_entrants([vq, make_run("a", GOOD)])
    figures = means(methods)
    figure = dots(methods, figures)
    [place] = [place for place in figure.axes if place.get_title(loc="left")]
    assert [text.get_text() for text in place.get_yticklabels()] == ["bicubic", "a/version_0"]
    assert "vq/version_0 (reconstructed)" in figure.get_supxlabel()
    [own] = dots(methods, figures, group="reconstructed, 32 px").axes
    assert [text.get_text() for text in own.get_yticklabels()] == ["vq/version_0 (reconstructed)"]
    with pytest.raises(ValueError, match="no scores of second in group 'restored, 32 px'"):
        dots(methods, figures, test_set="second")


def test_who_saw_other_pictures_is_left_out_of_differences(make_run):
    methods = find_entrants([make_run("a", GOOD), make_run("b", POOR), make_run("c", POOR, overrides=["data.size=64"])])
    found = differences(methods, against=methods["a/version_0"])
    assert set(found.index.get_level_values("method")) == {"bicubic", "b/version_0"}


def test_dots_stand_at_the_means(methods):
    [place] = [place for place in dots(methods, means(methods)).axes if place.get_title(loc="left")]
    drawn = [line.get_xdata()[0] for line in place.lines if line.get_marker() == "o"]
    assert drawn == pytest.approx([np.mean(range(20, 28)), np.mean(GOOD), np.mean(POOR)])
    assert [text.get_text() for text in place.get_yticklabels()] == ["bicubic", "a/version_0", "b/version_0"]


def test_a_metric_that_is_none_of_ours_is_shown_as_it_is_called(make_run):
    run = make_run("a", GOOD)
    path = run.folder / "scores.csv"
    path.write_text(path.read_text().replace("image,psnr", "image,charm"))
    methods = find_entrants([run])
    assert table(means(methods)).loc[("demo", GROUP, "bicubic"), "charm ↑"].startswith("23.5000 [")
    assert differences(methods, against=methods["bicubic"])["wins"].tolist() == [7]
