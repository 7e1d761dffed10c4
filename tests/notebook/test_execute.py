"""Notebooks are executed by this very Python, and a failure is told so that one need not look for it."""

import sys

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from lit_pure.notebook.execute import NotebookError, execute, list_notebooks, main


def write(path, *sources):
    nbformat.write(new_notebook(cells=[new_markdown_cell("words"), *map(new_code_cell, sources)]), path)
    return path


def test_a_copy_has_the_outputs_and_the_notebook_stays_as_it_is(tmp_path):
    (tmp_path / "place").mkdir()
    path = write(tmp_path / "good.ipynb", "import os, sys\nprint(sys.executable)", "os.getcwd()")
    before = path.read_bytes()
    copy = execute(path, tmp_path / "new" / "out", tmp_path / "place")
    cells = nbformat.read(copy, as_version=4).cells
    assert cells[1].outputs[0].text.strip() == sys.executable
    assert cells[2].outputs[0].data["text/plain"] == repr(str(tmp_path / "place"))
    assert path.read_bytes() == before


def test_a_failing_cell_is_told_with_source_and_error(tmp_path, monkeypatch, caplog):
    write(tmp_path / "bad.ipynb", "a = 1", "b = a - 1\na / b", "print('never')")
    monkeypatch.chdir(tmp_path)
    assert main([str(tmp_path / "bad.ipynb"), "--out", "out"]) == 1
    assert (
        "bad.ipynb: code cell 2 of 3 failed:\n    b = a - 1\n    a / b\nZeroDivisionError: division by zero"
        in caplog.text
    )
    cells = nbformat.read(tmp_path / "out" / "bad.ipynb", as_version=4).cells
    assert cells[2].outputs[0].ename == "ZeroDivisionError" and not cells[3].outputs


@pytest.mark.parametrize(
    ("source", "reason"),
    [("import os\nos._exit(3)", "the kernel died"), ("import time\ntime.sleep(60)", "more than 2 s")],
)
def test_a_kernel_that_dies_or_hangs_is_told(tmp_path, source, reason):
    path = write(tmp_path / "bad.ipynb", "a = 1", source)
    with pytest.raises(NotebookError, match=f"(?s)code cell 2 of 2 failed:\n    import.*{reason}"):
        execute(path, tmp_path / "out", tmp_path, timeout=2)


def test_a_copy_never_overwrites_its_notebook(tmp_path):
    path = write(tmp_path / "good.ipynb", "1 + 1")
    with pytest.raises(ValueError, match="would overwrite"):
        execute(path, tmp_path, tmp_path)


def test_what_is_no_notebook_is_named(tmp_path):
    (tmp_path / "bad.ipynb").write_text("{")
    with pytest.raises(ValueError, match="bad.ipynb cannot be read as a notebook"):
        execute(tmp_path / "bad.ipynb", tmp_path / "out", tmp_path)
    with pytest.raises(ValueError, match="no notebooks"):
        list_notebooks(tmp_path / "empty")
