"""Which runs are taken, and what is said to differ between them."""

import pytest

from lit_pure.notebook.choose import ABSENT, differing_settings, overview, select_restorer, select_runs
from lit_pure.runs.folder import MissingRun


def labels(runs) -> list[str]:
    return [run.label for run in runs]


def test_names_come_before_the_environment_and_that_before_everything(make_run, monkeypatch):
    for name in ("one", "two", "three"):
        make_run(name)
    assert labels(select_runs()) == ["one/version_0", "three/version_0", "two/version_0"]
    monkeypatch.setenv("LIT_PURE_RUNS", " two, one/version_0,,two ")
    assert labels(select_runs()) == ["two/version_0", "one/version_0"]
    assert labels(select_runs(["three"])) == ["three/version_0"]


@pytest.mark.parametrize("choose", [select_runs, select_restorer])
def test_without_runs_the_command_that_makes_one_is_told(place, choose):
    with pytest.raises(MissingRun, match="make exp NAME=demo"):
        choose()


def test_a_run_that_is_not_there_is_named_with_its_command(make_run, monkeypatch):
    make_run("one")
    monkeypatch.setenv("LIT_PURE_RUNS", "one,pure/nano")
    with pytest.raises(MissingRun, match="make exp NAME=pure/nano"):
        select_runs()


def test_the_newest_run_that_restores_is_looked_into(make_run):
    make_run("older", started="2026-01-02")
    make_run("newer", started="2026-01-03")
    make_run("oldest", started="2026-01-01")
    assert select_restorer().label == "newer/version_0"
    assert select_restorer("oldest").label == "oldest/version_0"


def test_of_those_not_named_the_newest_is_last(make_run):
    for name, day in (("a", 3), ("b", 1), ("c", 2)):
        make_run(name, started=f"2026-01-0{day}")
    assert labels(select_runs()) == ["b/version_0", "c/version_0", "a/version_0"]


def test_a_setting_may_hold_what_separates_settings(make_run):
    made = [make_run("a", overrides=["source.repo='x -> y: z'"]), make_run("b", overrides=["source.repo=other"])]
    assert list(differing_settings(made).loc["source.repo"]) == ["x -> y: z", "other"]


def test_only_differing_settings_are_listed_with_everybodys_value(make_run):
    made = [make_run("a"), make_run("b", overrides=["optim.lr=1e-4"]), make_run("c", overrides=["sampling.mu=4"])]
    table = differing_settings(made)
    assert list(table.index) == ["optim.lr", "sampling.mu"]
    assert list(table.loc["optim.lr"]) == ["0.0002", "0.0001", "0.0002"]
    assert list(table.loc["sampling.mu"]) == ["5.0", "5.0", "4.0"]
    assert differing_settings(made[:1]).empty


def test_overview_says_whether_pictures_were_scored(make_run):
    table = overview([make_run("scored", psnr=(20.0,)), make_run("unscored")])
    assert list(table["scores.csv"]) == ["yes", "no"]
    assert table.loc["scored/version_0", "parameters [million]"] == 1.5
    assert ABSENT not in table["started"].tolist()
