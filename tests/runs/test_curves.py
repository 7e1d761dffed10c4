"""Curves of a run that resumes, of a whole and of a damaged file."""

from pathlib import Path

import pytest

from lit_pure.files.reading import Damaged
from lit_pure.runs.curves import read_curves

HEAD = "step,train/loss,val/loss\n"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "metrics.csv"


def losses(path: Path, step: int = 9) -> list[str]:
    return [row["train/loss"] for row in read_curves(path, step)[1]]


def test_rows_before_the_step_are_kept_as_they_are(path: Path) -> None:
    path.write_text(HEAD + "0,3.500,\n1,,nan\n2,1e-3,inf\n3,1.0,\n")
    names, rows = read_curves(path, 3)
    assert names == ["step", "train/loss", "val/loss"]
    assert [list(row.values()) for row in rows] == [["0", "3.500", ""], ["1", "", "nan"], ["2", "1e-3", "inf"]]


@pytest.mark.parametrize(
    "line", ["1", "1,2", "1,x,", "²,1,", f"{'9' * 5000},1,", "\x00,1,", '1,"1,', "1,1,1,1", f"1,{'x' * 200_000},", ""]
)
def test_a_damaged_line_takes_no_other_with_it(path: Path, line: str) -> None:
    path.write_text(f"{HEAD}0,3.5,\n{line}\n2,1.5,\n", encoding="utf-8")
    assert losses(path) == ["3.5", "1.5"]


def test_bytes_that_are_no_text_cost_their_line_alone(path: Path) -> None:
    path.write_bytes(HEAD.encode() + b"0,3.5,\n1,\xff.5,\n2,1.5,\n" + b"\x00" * 512)
    assert losses(path) == ["3.5", "1.5"]


def test_an_empty_file_has_no_rows(path: Path) -> None:
    path.touch()
    assert read_curves(path, 3) == (["step"], [])


@pytest.mark.parametrize("head", ["loss,val\n", "step,step\n", '"step\n', "\n", "\x00\x00\n"])
def test_a_file_of_something_else_is_refused_in_a_line(path: Path, head: str) -> None:
    path.write_text(head + "0,1\n")
    with pytest.raises(Damaged, match=r"metrics.csv cannot be read .*kept as metrics.csv.damaged"):
        read_curves(path, 3)
