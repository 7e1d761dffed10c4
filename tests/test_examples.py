"""The scripts of `examples/`, each run as a user runs it: in an empty folder, in a process of its own."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from lit_pure.config.compose import PROJECT

FOLDER = PROJECT / "examples"
SAID = {
    "train": "6 (1, 3, 64, 64) 4",  # step, size of what was predicted, scale of what was read back
    "restore": "(64, 64)",
    "degrade": "niqe [",
    "sample": "sampling.top_k=fixed sampling.k=1 mean entropy ",
    "callbacks": "{'train/loss_first': ",
}
"""Example -> how the last line that it prints begins."""
MADE = {
    "train": ["checkpoints/last.ckpt", "nano.ckpt"],
    "restore": ["restored.png", "entropy.png", "restorer/config.json"],
    "degrade": ["lq.png"],
    "sample": ["sampling.seed=1.png", "sampling.seed=2.png"],
    "callbacks": ["images/demo/restored/chelsea.png"],
}


def test_each_example_is_checked_and_short() -> None:
    scripts = sorted(FOLDER.glob("*.py"))
    assert {path.stem for path in scripts} == set(SAID) == set(MADE)
    for path in scripts:
        text = path.read_text(encoding="utf-8")
        assert len(text.splitlines()) <= 25 and ast.get_docstring(ast.parse(text))


@pytest.mark.parametrize("name", SAID)
def test_an_example_runs_in_any_folder(name: str, tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, FOLDER / f"{name}.py"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].startswith(SAID[name]), done.stdout
    for path in MADE[name]:
        assert (tmp_path / path).is_file(), sorted(str(each.relative_to(tmp_path)) for each in tmp_path.rglob("*.*"))
    if name == "sample":
        one, two = (Image.open(tmp_path / path).tobytes() for path in MADE[name])
        assert one != two, "another seed draws another picture"


def test_the_guide_shows_the_training_that_is_run() -> None:
    page = (PROJECT / "docs" / "python.md").read_text(encoding="utf-8")
    assert f"```python\n{(FOLDER / 'train.py').read_text(encoding='utf-8')}```\n" in page
