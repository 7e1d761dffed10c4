"""The figure of a search shows the values of its trials, as its file has them."""

from pathlib import Path

import numpy as np
import pytest

from lit_pure.__main__ import main
from lit_pure.launch.local import Processes
from lit_pure.notebook import searches
from lit_pure.runs.folder import finished
from lit_pure.search.trials import read_trials
from tests.search import toy
from tests.search.toy import Toy


@pytest.fixture
def searched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    toy.place(tmp_path / "here", prune=True)
    monkeypatch.chdir(tmp_path / "here")
    made = Toy()
    monkeypatch.setattr(Processes, "run", lambda self, *given: made.run(*given))
    path = Path("experiments/toy.yaml")
    path.write_text(path.read_text().replace("trials: 30", "trials: 9"))
    assert main(["sweep", "toy"]) == 0


def test_a_panel_for_the_history_and_one_for_each_knob(searched: None) -> None:
    trials = read_trials("toy")
    done = [trial for trial in trials if trial.state == "complete"]
    assert searches.names_of(finished()) == ["toy"]
    figure = searches.overview(finished())
    history, *slices = [ax for ax in figure.axes if ax.get_title(loc="left")]
    [best] = history.lines
    assert list(best.get_ydata()) == list(np.minimum.accumulate([trial.value for trial in done]))
    assert [ax.get_title(loc="left") for ax in slices] == ["lr", "margin", "labels"]
    assert [ax.get_xscale() for ax in slices] == ["log", "linear", "linear"]
    for ax, key in zip(slices[:2], ("optim.lr", "dem.margin"), strict=True):
        pruned, finished_ones = (np.asarray(dots.get_offsets()) for dots in ax.collections)
        np.testing.assert_allclose(finished_ones, [(trial.values[key], trial.value) for trial in done])
        assert len(pruned) == len(trials) - len(done) > 0
    assert [tick.get_text() for tick in slices[2].get_xticklabels()] == ["thirds", "terciles"]


def test_runs_of_no_search_are_told_so(make_run, tmp_path: Path) -> None:
    figure = searches.overview([make_run("one")])
    assert [text.get_text() for text in figure.axes[0].texts] == ["none of these runs is a trial of a search"]
