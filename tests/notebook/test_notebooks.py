"""The committed notebooks: without outputs, short cells, and they execute on runs of a small house."""

import re
import shutil
import sys
from pathlib import Path

import nbformat
import pytest
import torch

from lit_pure.__main__ import main
from lit_pure.config.compose import PROJECT
from lit_pure.notebook import choose, subject, variants
from lit_pure.notebook.execute import FOLDER, execute, list_notebooks

NAMES = ["compare_runs", "look_inside"]
LONGEST_CELL = 8
"""Lines of code: what is longer belongs into lit_pure/notebook/."""


@pytest.fixture(params=NAMES)
def path(request) -> Path:
    return FOLDER / f"{request.param}.ipynb"


def test_these_are_all():
    assert [path.stem for path in list_notebooks()] == NAMES


def test_committed_without_outputs_and_valid(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    text = path.read_text(encoding="utf-8")
    assert not any(str(place) in text for place in (PROJECT, Path.home(), sys.prefix))
    assert set(notebook.metadata) == {"kernelspec", "language_info"}
    assert set(notebook.metadata.language_info) == {"name"}
    for cell in notebook.cells:
        assert not cell.metadata, f"{cell.id} has metadata of an editor: {cell.metadata}"
        if cell.cell_type == "code":
            assert not cell.outputs and cell.execution_count is None, f"{cell.id} has outputs; clear them"


def test_cells_only_call_the_package(path):
    for cell in nbformat.read(path, as_version=4).cells:
        if cell.cell_type == "code":
            assert len(cell.source.splitlines()) <= LONGEST_CELL, f"{path.name}, {cell.id}"
            assert not re.search(r"^\s*(def|class|for|while|if)\b", cell.source, re.MULTILINE), cell.source


@pytest.fixture
def two_runs(house, monkeypatch):
    """A second run to compare the demo with, beside those of the tokenizer and the DEM; it trains nothing."""
    assert main(["run", "ablations/sampling/top1", "base=demo"]) == 0
    monkeypatch.delenv("LIT_PURE_RUNS", raising=False)
    yield house
    shutil.rmtree(house / "runs" / "ablations")


def test_they_execute_on_small_runs(two_runs, path, tmp_path):
    before = path.read_bytes()
    copy = execute(path, tmp_path, two_runs, timeout=120)
    cells = [cell for cell in nbformat.read(copy, as_version=4).cells if cell.cell_type == "code"]
    kinds = [set(output.get("data", {})) for cell in cells for output in cell.outputs]
    assert [len(cell.outputs) for cell in cells] == [1] * len(cells), "every cell shows one thing, and no warning"
    assert sum("image/png" in kind for kind in kinds) >= 5 and sum("text/html" in kind for kind in kinds) >= 3
    assert path.read_bytes() == before


def test_other_draws_differ_also_after_a_run_that_takes_the_most_likely(two_runs):
    """The newest run is a Top-1 run, which draws nothing by itself."""
    photo = subject.open_test_picture(choose.select_restorer())
    assert (photo.restorer.sampling.top_k, photo.restorer.sampling.k) == ("fixed", 1)
    one, other = variants.decode_by_seed(photo, [0, 1]).values()
    assert not torch.equal(one.codes_hw, other.codes_hw)


def test_without_runs_the_first_cell_says_which_command_makes_one(tmp_path, monkeypatch):
    monkeypatch.delenv("LIT_PURE_RUNS", raising=False)
    with pytest.raises(ValueError, match=r"(?s)code cell 1 of .*make exp NAME=demo"):
        execute(FOLDER / "compare_runs.ipynb", tmp_path / "out", tmp_path, timeout=120)
