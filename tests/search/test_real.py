"""A search over real trainings: one is killed in the middle and resumed, one is pruned where it validates."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lit_pure.runs import checkpoints
from lit_pure.runs import folder as runs
from lit_pure.search.trials import read_trials

EXPERIMENT = """
base: dem/nano
data: {batch_size: 2, size: 96, num_workers: 0, train: {source: skimage}, val: {source: skimage, crops: 1}, test: {}}
dem: {features: [4, 4, 4], calibration: 8}
optim: {lr: 1e-4}
trainer: {max_steps: 12, val_every: 4, save_every: 1, log_every: 1}
search: {trials: 6, seed: 5, space: {dem.margin: {float: [0, 0.2]}}}
"""
"""At first the loss is about the margin; of these six, drawn at random, the last one is the largest."""


@pytest.mark.slow
def test_a_real_search_is_killed_goes_on_and_prunes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "experiments").mkdir()
    (tmp_path / "experiments" / "margin.yaml").write_text(EXPERIMENT)
    monkeypatch.chdir(tmp_path)
    command = [sys.executable, "-m", "lit_pure", "sweep", "margin"]
    with Path("killed.log").open("w") as log, subprocess.Popen(command, stdout=log, stderr=log) as killed:
        while not any(Path("runs").rglob(checkpoints.COMPLETE)) and killed.poll() is None:
            time.sleep(0.05)
        os.kill(killed.pid, signal.SIGKILL)
    assert killed.returncode == -signal.SIGKILL, Path("killed.log").read_text()
    [first] = read_trials("margin")
    assert first.state == "running" and not runs.versions(f"margin/{first.label}")[0].finished
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert f"run margin/{first.label}/version_0, resumed from step " in done.stderr, done.stderr
    *others, last = read_trials("margin")
    assert [trial.state for trial in (*others, last)] == ["complete"] * 5 + ["pruned"]
    assert all(list(trial.steps or ()) == [4, 8, 12] for trial in others) and list(last.steps or ()) == [4]
    run = runs.Run(runs.ROOT / last.run)
    assert run.pruned and not run.finished and json.loads((run.folder / runs.PRUNED).read_text())["step"] == 4
    assert "pruned after step 4: val/loss" in done.stderr and run not in runs.finished()
    on = subprocess.run(
        [sys.executable, "-m", "lit_pure", "run", f"margin/{last.label}"], capture_output=True, text=True
    )
    assert on.returncode == 0 and "resumed from step 4" in on.stderr, on.stderr
    assert run.finished and not run.pruned, "by hand it may be trained on"
