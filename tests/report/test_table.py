"""Which figures of a column are best and second."""

import pytest

from lit_pure.report.assemble import assemble
from lit_pure.report.layouts import LAYOUTS
from lit_pure.report.table import Cell, Table, TableRow, mark_best, transpose


def marks(texts: list[str], direction: str, groups: list[str | None] | None = None) -> list[str]:
    names = groups or ["a"] * len(texts)
    rows = [
        TableRow((str(at),), (Cell(text),), group) for at, (text, group) in enumerate(zip(texts, names, strict=True))
    ]
    return [row.cells[0].mark for block in mark_best([rows], [direction]) for row in block]


@pytest.mark.parametrize(
    ("texts", "direction", "expected"),
    [
        (["1", "3", "2"], "higher", ["", "best", "second"]),
        (["1", "3", "2"], "lower", ["best", "", "second"]),
        (["1", "3", "2"], "", ["", "", ""]),
        (["3", "3.00", "2", "2", "1"], "higher", ["best", "best", "second", "second", ""]),
        (["-", "9", "10"], "higher", ["", "second", "best"]),  # 10 is more than 9, and nothing is no figure
        (["-0.7", "-0.9", "-"], "higher", ["best", "second", ""]),
        (["5", "-"], "higher", ["", ""]),
        (["5", "5"], "lower", ["best", "best"]),
    ],
)
def test_best_and_second_follow_the_metric_s_direction_and_keep_ties(
    texts: list[str], direction: str, expected: list[str]
) -> None:
    assert marks(texts, direction) == expected


def test_groups_of_rows_are_ranked_apart_and_rows_without_a_group_are_not_ranked() -> None:
    found = marks(["1", "2", "30", "20", "99"], "higher", ["a", "a", "b", "b", None])
    assert found == ["second", "best", "best", "second", ""]


def test_a_turned_table_keeps_figures_and_marks() -> None:
    blocks = mark_best(
        [[TableRow(("a", "here"), (Cell("1"), Cell("2"))), TableRow(("b", "there"), (Cell("3"), Cell("4")))]], ["", ""]
    )
    table = transpose(Table("t", ("Methods", "On"), {"x": "", "y": ""}, blocks))
    assert table.heads == ("",) and list(table.columns) == ["a", "b"]
    assert [(row.head[0], *(cell.text for cell in row.cells)) for row in table.blocks[0]] == [
        ("On", "here", "there"),
        ("x", "1", "3"),
        ("y", "2", "4"),
    ]


@pytest.mark.usefixtures("make")
def test_ranks_of_table_6_are_what_the_paper_says_of_it() -> None:
    """Section 4.3: top-1 has the best PSNR and SSIM, dynamic the best DISTS, FID, NIQE and MANIQA."""
    table = assemble(LAYOUTS["table6"], [])
    best = {
        label: [row.head[0] for row in table.blocks[0] if row.cells[at].mark == "best"]
        for at, label in enumerate(table.columns)
    }
    assert best["PSNR"] == best["SSIM"] == ["Top-1"]
    assert all(best[label] == ["Dynamic Top-k"] for label in ("DISTS", "FID", "NIQE", "MANIQA"))
