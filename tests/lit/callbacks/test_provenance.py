"""Where a run comes from: the file, and what TensorBoard shows of it."""

import json
import subprocess
import sys
from pathlib import Path

import lightning
import pytest

from lit_pure.lit.callbacks.provenance import Provenance
from tests.lit.callbacks.foreign import Brightener, events, loader, trainer

pytestmark = pytest.mark.filterwarnings("ignore:.*does not have many workers")


def test_provenance_in_another_project_describes_that_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    git = ["git", "-C", str(tmp_path), "-c", "user.name=x", "-c", "user.email=x@example.org"]
    subprocess.run([*git, "init", "-q"], check=True)
    subprocess.run([*git, "commit", "-q", "--allow-empty", "-m", "x"], check=True)
    commit = subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["/somewhere/train.py", "--width", "8"])
    lightning.seed_everything(5, verbose=False)
    house = trainer(tmp_path / "logs", [Provenance()])
    house.fit(Brightener(), loader(2))
    found = json.loads((tmp_path / "logs" / "run" / "version_0" / "provenance.json").read_text())
    assert found["command"] == ["train.py", "--width", "8"] and found["seed"] == 5
    assert (
        found["git"] == {"commit": commit, "changed": False} and found["packages"]["lightning"] == lightning.__version__
    )
    (event,) = events(tmp_path / "logs").Tensors("provenance/text_summary")
    lines = event.tensor_proto.string_val[0].decode().splitlines()
    assert {"| command | train.py --width 8 |", f"| git.commit | {commit} |"} <= set(lines)


def test_provenance_is_logged_once_at_fit_or_test(tmp_path: Path) -> None:
    house, module = trainer(tmp_path, [Provenance({"why": "a test"}, tmp_path / "here")]), Brightener()
    house.test(module, loader(2), verbose=False)
    house.fit(module, loader(2))
    assert json.loads((tmp_path / "here" / "provenance.json").read_text()) == {"why": "a test"}
    assert [event.step for event in events(tmp_path).Tensors("provenance/text_summary")] == [0]


@pytest.mark.parametrize("folder", [None, "here"])
def test_a_trial_run_leaves_a_file_only_where_it_was_told_to(folder: str | None, tmp_path: Path) -> None:
    callback = Provenance(folder=tmp_path / folder if folder else None)
    trainer(tmp_path, [callback], fast_dev_run=True).fit(Brightener(), loader(2))
    assert bool(list(tmp_path.rglob("provenance.json"))) == bool(folder)
