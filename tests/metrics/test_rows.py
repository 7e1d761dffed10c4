"""The per-image file is read back to the last digit, for any name of a picture."""

from pathlib import Path

import pandas as pd
import pytest

from lit_pure.metrics.rows import ScoreRow, read_rows, write_rows

NAMES = ["plain", "NA", "nan", "007", "1e5", "", "a,b", 'say "x"', "two\nlines", " spaced ", "null", "ä\udcff"]


def test_a_file_of_scores_keeps_names_and_all_digits(tmp_path: Path) -> None:
    rows = [
        ScoreRow("web", "restored", name, {"psnr": 20 + place / 3, "niqe": 1e-17}) for place, name in enumerate(NAMES)
    ]
    write_rows(tmp_path / "scores.csv", rows, ["psnr", "niqe"])
    table = read_rows(tmp_path / "scores.csv")
    assert list(table) == ["test_set", "method", "image", "psnr", "niqe"]
    assert table["image"].tolist() == NAMES
    assert table["psnr"].tolist() == [row.scores["psnr"] for row in rows]
    assert table["niqe"].tolist() == [1e-17] * len(NAMES)


def test_a_missing_score_is_an_empty_cell_and_a_metric_not_asked_for_is_left_out(tmp_path: Path) -> None:
    rows = [ScoreRow("a", "bicubic", "x", {"psnr": float("inf"), "ssim": 1.0}), ScoreRow("a", "bicubic", "y", {})]
    write_rows(tmp_path / "scores.csv", rows, ["psnr", "psnr-rgb"])
    assert (tmp_path / "scores.csv").read_text() == (
        "test_set,method,image,psnr,psnr-rgb\na,bicubic,x,inf,\na,bicubic,y,,\n"
    )
    table = read_rows(tmp_path / "scores.csv")
    assert table["psnr"].tolist()[0] == float("inf") and table["psnr-rgb"].isna().all()
    assert [str(kind) for kind in table.dtypes[3:]] == ["float64", "float64"]


def test_no_rows_are_a_table_with_its_columns(tmp_path: Path) -> None:
    write_rows(tmp_path / "scores.csv", [], ["niqe"])
    table = read_rows(tmp_path / "scores.csv")
    assert isinstance(table, pd.DataFrame) and len(table) == 0 and list(table)[3:] == ["niqe"]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "No such file"),
        ("", "column test_set is missing"),
        ("test_set,method,image,psnr\na,b,c\n", "line 2 has 3 cells for 4 columns"),
        ("image,psnr\na,1\n", "column test_set is missing"),
        ("test_set,method,image,psnr\na,b,c,high\n", "high"),
        ('test_set,method,image\n"a,b,c\n', "unexpected end"),
    ],
)
def test_a_file_that_holds_no_scores_is_named(tmp_path: Path, content: str | None, reason: str) -> None:
    path = tmp_path / "scores.csv"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ValueError, match=reason) as told:
        read_rows(path)
    assert str(path) in str(told.value) and len(str(told.value).splitlines()) == 1


@pytest.mark.parametrize(
    "name", ["a,b", 'a"b', "a\rb", "a\r\nb", "a\nb", "a\x85b", "a\u2028b", "\r", " a ", "a\x0bb", "nan", ""]
)
def test_scores_come_back_whatever_a_picture_is_called(tmp_path: Path, name: str) -> None:
    rows = [ScoreRow("demo", name, name, {"psnr": 1.5}), ScoreRow("demo", "plain", "z", {"psnr": 2.5})]
    write_rows(tmp_path / "scores.csv", rows, ["psnr"])
    table = read_rows(tmp_path / "scores.csv")
    assert list(table["image"]) == [name, "z"] and list(table["method"]) == [name, "plain"]
    assert list(table["psnr"]) == [1.5, 2.5]
