"""A whole search with a formula as its trainings: what it finds, what becomes of it when killed, what it prunes."""

import json
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from lit_pure.__main__ import main
from lit_pure.config.compose import PROJECT, compose, is_search, search_of
from lit_pure.launch.local import Processes
from lit_pure.runs.folder import Run, finished, versions
from lit_pure.runs.stop import EXIT_STATUS
from lit_pure.search.trials import Trial, Trials, best, read_trials
from tests.launch import cluster
from tests.launch.conftest import slurm as slurm
from tests.search import toy
from tests.search.toy import Toy


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    toy.place(tmp_path / "here")
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path


@pytest.fixture
def made(here: Path, monkeypatch: pytest.MonkeyPatch) -> Toy:
    made = Toy()
    monkeypatch.setattr(Processes, "run", lambda self, *given: made.run(*given))
    return made


def change(before: str, after: str) -> None:
    path = Path("experiments/toy.yaml")
    assert before in path.read_text()
    path.write_text(path.read_text().replace(before, after))


def told(trials: list[Trial]) -> list[tuple[str, str, float | None]]:
    return [(trial.label, trial.state, trial.value) for trial in trials if trial.label]


def test_the_minimum_is_found_and_trials_are_ordinary_runs(made: Toy, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sweep", "toy"]) == 0
    trials = read_trials("toy")
    assert len(trials) == len(made.names) == 30 and {trial.state for trial in trials} == {"complete"}
    [first] = best(trials, search_of("toy"), 1)
    assert first.value == min(trial.value for trial in trials if trial.value is not None)
    assert first.value < 0.1, (
        "0 is the minimum; a factor of ten in lr, or a quarter of the range of the margin, costs 1"
    )
    experiment = compose(f"toy/{first.label}")
    assert toy.objective(experiment) == pytest.approx(first.value)
    said = capsys.readouterr().out
    assert f"longer:  lit-pure run toy/{first.label} trainer.max_steps=32" in said
    assert said.count("[trial ") == 60 and "Trials of toy" in said and f"toy/{first.label}/version_0" in said
    assert {run.label for run in finished()} == {trial.run for trial in trials}
    with sqlite3.connect("runs/toy/search.db") as database:  # as other tools read it
        assert database.execute("select count(*) from trials").fetchone() == (30,)
    assert main(["report", "toy"]) == 0
    row = next(line for line in capsys.readouterr().out.splitlines() if " complete " in line)
    assert row.split()[:5] == [str(first.number + 1), "complete", *_shown(first)], "the best one is on top"
    assert main(["sweep", "toy"]) == 0
    assert len(made.names) == 30, "nothing is run again"
    change("trials: 30", "trials: 32")
    assert main(["sweep", "toy"]) == 0
    assert len(made.names) == 32, "more may be asked for"


def _shown(trial: Trial) -> list[str]:
    return [part.partition("=")[2] for part in trial.label.split(",")]


@pytest.mark.parametrize("prune", [False, True], ids=["all are finished", "with pruning"])
def test_a_search_that_was_killed_goes_on_as_if_it_had_not_been(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, prune: bool
) -> None:
    """SIGKILL in the middle of the 12th run, by when the sampler looks at what others found."""
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    for folder in (whole, killed):
        toy.place(folder, prune)
        text = (folder / "experiments" / "toy.yaml").read_text()
        (folder / "experiments" / "toy.yaml").write_text(text.replace("trials: 30", "trials: 14"))
    monkeypatch.setattr(Processes, "run", lambda self, *given: made.run(*given))
    monkeypatch.chdir(whole)
    made = Toy()
    assert main(["sweep", "toy"]) == 0
    monkeypatch.chdir(killed)
    died = subprocess.run([sys.executable, "-m", "tests.search.toy", "12"], capture_output=True, text=True)
    assert died.returncode == -signal.SIGKILL, died.stderr
    before = read_trials("toy")
    assert [trial.state for trial in before[11:]] == ["running"] and not versions(f"toy/{before[11].label}")[0].finished
    made = Toy()
    assert main(["sweep", "toy"]) == 0
    assert made.names[0] == f"toy/{before[11].label}" and len(made.names) == 3, "finished ones are not run again"
    monkeypatch.chdir(whole)
    wanted = told(read_trials("toy"))
    monkeypatch.chdir(killed)
    assert told(read_trials("toy")) == wanted and len(wanted) == 14
    assert any(state == "pruned" for _, state, _ in wanted) == prune


def test_a_trial_that_was_killed_while_it_was_sampled_changes_nothing(
    made: Toy, monkeypatch: pytest.MonkeyPatch
) -> None:
    from optuna.trial import Trial as Asked

    change("trials: 30", "trials: 12")
    assert main(["sweep", "toy"]) == 0
    wanted = told(read_trials("toy"))
    Path("runs").rename("before")
    note = Asked.set_user_attr

    def dies(self: Asked, key: str, value: str) -> None:
        if self.number == 10:
            raise KeyboardInterrupt
        note(self, key, value)

    with monkeypatch.context() as patch:
        patch.setattr(Asked, "set_user_attr", dies)
        assert main(["sweep", "toy"]) != 0
    assert main(["sweep", "toy"]) == 0
    assert told(read_trials("toy")) == wanted


def test_a_pruned_trial_is_no_finished_run_and_says_so(made: Toy, capsys: pytest.CaptureFixture[str]) -> None:
    change("prune: false", "prune: true")
    change("trials: 30", "trials: 16")
    assert main(["sweep", "toy"]) == 0
    trials = read_trials("toy")
    pruned = [trial for trial in trials if trial.state == "pruned"]
    assert len(pruned) >= 2 and all(trial.number >= 5 for trial in pruned), "five come to their end first"
    for trial in pruned:
        assert trial.pruned_at in toy.STEPS and trial.steps and max(trial.steps) == trial.pruned_at
        assert Run(Path("runs") / trial.run).pruned and trial.run not in {run.label for run in finished()}
        reached = [other.steps[trial.pruned_at] for other in trials[: trial.number]
                   if other.state == "complete" and other.steps and trial.pruned_at in other.steps]  # fmt: skip
        reached.sort()
        assert trial.value is not None and trial.value >= reached[len(reached) // 2 - (len(reached) % 2 == 0)]
    assert f"pruned at step {pruned[0].pruned_at}" in capsys.readouterr().out


def test_trials_that_fail_are_told_and_three_in_a_row_end_the_search(
    made: Toy, capsys: pytest.CaptureFixture[str]
) -> None:
    change("trials: 30", "trials: 6")
    made.fates = {2: 1, 4: 1, 5: -signal.SIGKILL}
    assert main(["sweep", "toy"]) == 0
    states = [trial.state for trial in read_trials("toy")]
    assert states.count("failed") == 3 and states.count("complete") == 6, "those that failed do not count"
    assert "trial 5 failed: ended by SIGKILL; out of memory?" in capsys.readouterr().out
    change("trials: 6", "trials: 7")
    made.fates = dict.fromkeys(range(10, 13), 1)
    assert main(["sweep", "toy"]) == 1
    said = capsys.readouterr()
    assert "error: 3 trials in a row failed, the last one: exit status 1" in said.err and "best: " in said.out
    made.fates = {}
    assert main(["sweep", "toy"]) == 0
    assert sum(trial.state == "complete" for trial in read_trials("toy")) == 7


def test_a_search_that_was_stopped_says_so_and_resumes(made: Toy, capsys: pytest.CaptureFixture[str]) -> None:
    change("trials: 30", "trials: 4")
    made.fates = {3: EXIT_STATUS}
    assert main(["sweep", "toy"]) == EXIT_STATUS
    assert "trial 3; the same command resumes" in capsys.readouterr().err
    assert main(["sweep", "toy", "--dry-run"]) == 0
    plan = capsys.readouterr().out
    assert "of which 2 are done" in plan and f"# to be resumed: lit-pure run {made.names[2]}\n" in plan
    assert main(["sweep", "toy"]) == 0
    assert made.names[3] == made.names[2] and len(made.names) == 5


def test_a_metric_of_the_test_and_one_that_is_not_there(made: Toy, capsys: pytest.CaptureFixture[str]) -> None:
    change("seed: 3\n  prune: false", "metric: test/demo/psnr\n  direction: maximize")
    assert main(["sweep", "toy"]) == 1
    assert "has no test/demo/psnr; it has val/loss" in capsys.readouterr().err
    assert is_search("toy") and search_of("toy").direction == "maximize"


def test_trials_of_another_search_are_left_alone(made: Toy, capsys: pytest.CaptureFixture[str]) -> None:
    change("trials: 30", "trials: 2")
    assert main(["sweep", "toy"]) == 0
    capsys.readouterr()
    for before, after, words in (
        ("[0, 1]", "[0, 0.9]", "space: "),
        ("seed: 3", "seed: 4", "search.seed: 3 -> 4"),
        ("max_steps: 8", "max_steps: 9", "trainer.max_steps: 8 -> 9"),
    ):
        change(before, after)
        assert main(["sweep", "toy"]) == 2
        said = capsys.readouterr().err
        assert words in said and "runs/toy/search.db has trials of another search" in said and len(made.names) == 2
        change(after, before)
    assert main(["sweep", "toy", "trainer.max_steps=9"]) == 2
    assert main(["sweep", "toy", "trainer.val_every=1"]) == 0, "where and how it runs may change"


def test_a_search_that_began_in_sqlite_is_not_shared_by_workers(
    made: Toy, slurm: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    change("trials: 30", "trials: 1")
    assert main(["sweep", "toy"]) == 0
    assert main(["sweep", "toy", "--launcher", "slurm", "--parallel", "2"]) == 2
    assert "runs/toy/search.db is SQLite, which workers on several nodes cannot share" in capsys.readouterr().err
    assert main(["sweep", "toy", "--launcher", "slurm"]) == 0, "one alone may go on with it"


@pytest.mark.parametrize("journal", [False, True])
def test_two_processes_share_the_trials(here: Path, journal: bool) -> None:
    change("trials: 30", "trials: 8")
    change("prune: false", "prune: true")
    if journal:
        Trials("toy", search_of("toy"), compose("toy"), journal=True).close()
    command = [sys.executable, "-m", "tests.search.toy", "0"]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    said = [process.communicate(timeout=120) for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    trials = read_trials("toy")
    assert len(trials) == 8 and {trial.state for trial in trials} <= {"complete", "pruned"}
    assert (Path("runs/toy/search.db").exists(), Path("runs/toy/search.journal").exists()) == (not journal, journal)
    assert all(len(versions(f"toy/{trial.label}")) == 1 for trial in trials)
    assert len({trial.label for trial in trials}) == 8


def test_workers_on_a_cluster_share_a_journal(
    made: Toy, slurm: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three elements of an array; the first one makes all that there is to make, and the others find nothing to do."""
    change("trials: 30", "trials: 3")
    change("trainer: {max_steps: 8", "trainer: {devices: '2', max_steps: 8")
    asked = ["sweep", "toy", "--launcher", "slurm", "--parallel", "3"]
    assert main([*asked, "--dry-run"]) == 0
    shown = capsys.readouterr().out
    assert "# task 2: lit-pure sweep toy\n" in shown and not Path("runs").exists()
    assert main([*asked, "--nodes", "2"]) == 2
    assert "a trial of a search runs on one node" in capsys.readouterr().err
    package = Path("lit_pure")  # what `python -m lit_pure` finds here
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "__main__.py").write_text(
        f"import sys\nsys.path[0] = {str(PROJECT)!r}\ndel sys.modules['lit_pure']\n"
        "from tests.search.toy import main, patched\npatched()\nsys.exit(main(sys.argv[1:]))\n"
    )
    assert main(asked) == 0
    assert Path("runs/toy/search.journal").is_file() and not Path("runs/toy/search.db").exists()
    job = json.loads(next(slurm.glob("*.job")).read_text())["options"]
    assert (job["ntasks-per-node"], job["gpus-per-node"], job["array"]) == ("1", "2", "0-2%3"), "one starts two"
    assert cluster.work(slurm) == {"101_0": 0, "101_1": 0, "101_2": 0}
    assert [trial.state for trial in read_trials("toy")] == ["complete"] * 3
    capsys.readouterr()
    assert main(["sweep", "toy"]) == 0 and not made.names
    assert "Trials of toy" in capsys.readouterr().out and not Path("runs/toy/search.db").exists()
