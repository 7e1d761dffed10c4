"""Tables as text, parsed independently: a terminal's escapes, Markdown cells, LaTeX's braces, pandas."""

import io
import re

import pandas as pd
import pytest

from lit_pure.report.assemble import assemble
from lit_pure.report.layouts import LAYOUTS
from lit_pure.report.render import FORMATS, LEGEND, render
from lit_pure.report.table import Cell, Table, TableRow, mark_best

ROWS = [
    TableRow(("a_1", "set & 2"), (Cell("25.00"), Cell("0.5", "0.01")), "g"),
    TableRow(("ours: x|y", "set & 2"), (Cell("24.00"), Cell("0.7", "0.02")), "g", below=True),
    TableRow(("ours: x|y", "b"), (Cell(), Cell("-0.71")), "h", below=True),
]
TABLE = Table(
    "Title 100 % #1",
    ("Methods", "Test set"),
    {"PSNR": "higher", "LPIPS": "lower"},
    mark_best([ROWS], ["higher", "lower"]),
    ("Costs 5 $, a^b.",),
    ("variance", "{}/{}"),
)


def test_a_terminal_shows_bold_and_underlined_and_columns_stay_aligned() -> None:
    marked, bare = render(TABLE, "terminal", ansi=True), render(TABLE, "terminal")
    assert "\033[1m25.00\033[0m" in marked and "\033[4m24.00\033[0m" in marked and "\033[1m0.5/0.01\033[0m" in marked
    assert "\033" not in bare and LEGEND not in bare, "what is not shown is not explained"
    assert re.sub(r"\033\[\d+m", "", marked).replace(f"{LEGEND}\n", "") == bare
    head, first, second, third = (bare.splitlines()[at] for at in (2, 4, 5, 6))
    assert head.index("PSNR↑") + 5 == first.index("25.00") + 5 == second.index("24.00") + 5
    assert second.startswith("  ours: x|y") and third.split() == ["b", "-", "-0.71"], "a repeated name is left out"


def test_a_markdown_table_marks_the_best_and_escapes_pipes() -> None:
    lines = render(TABLE, "md").splitlines()
    cells = [re.split(r" (?<!\\)\| ", line.strip("| ")) for line in lines if line.startswith("|")]
    assert {len(row) for row in cells} == {4}
    assert cells[1] == ["---", "---", "---:", "---:"]
    assert cells[2][2:] == ["**25.00**", "**0.5/0.01**"] and cells[3][2:] == ["<u>24.00</u>", "<u>0.7/0.02</u>"]
    assert cells[3][0] == r"ours: x\|y" and cells[4] == [r"ours: x\|y", "b", "-", "-0.71"]
    assert f"- {LEGEND}" in lines and "- Costs 5 $, a^b." in lines


def test_a_latex_table_is_booktabs_with_even_columns() -> None:
    text = render(TABLE, "latex")
    assert r"a\_1 & set \& 2 & \textbf{25.00} & \textbf{0.5/0.01} \\" in text
    assert r"\underline{24.00}" in text and r" & b & -- & $-$0.71 \\" in text
    assert r"Title 100 \% \#1" in text and r"Costs 5 \$, a\textasciicircum{}b." in text
    assert r"PSNR $\uparrow$ & LPIPS $\downarrow$ \\" in text


@pytest.mark.usefixtures("make")
@pytest.mark.parametrize("name", LAYOUTS)
def test_latex_tables_of_every_layout_are_well_formed(name: str) -> None:
    """No LaTeX is at hand here: braces, environments, cells per row, and characters are checked instead."""
    table = assemble(LAYOUTS[name], [])
    text = render(table, "latex")
    body = re.sub(r"\\[&%$#_{}]", "", text)
    assert body.count("{") == body.count("}") and body.count("$") % 2 == 0 and text.isascii()
    begun, ended = (re.findall(rf"\\{word}{{([^}}]+)}}", text) for word in ("begin", "end"))
    assert sorted(begun) == sorted(ended) and [text.count(rule) for rule in (r"\toprule", r"\bottomrule")] == [1, 1]
    spec = re.search(r"\\begin\{tabular\}\{([lr]+)\}", text)
    assert spec
    rows = [line for line in body.splitlines() if line.endswith(r"\\")]
    assert len(rows) == 1 + sum(map(len, table.blocks))
    assert {line.count("&") + 1 for line in rows} == {len(spec[1])}


def test_a_csv_table_is_read_by_pandas_with_numbers() -> None:
    frame = pd.read_csv(io.StringIO(render(TABLE, "csv")))
    assert list(frame) == ["Methods", "Test set", "PSNR", "LPIPS", "LPIPS variance"]
    assert frame["PSNR"].tolist()[:2] == [25.0, 24.0] and frame["PSNR"].isna()[2]
    assert frame["LPIPS"].tolist() == [0.5, 0.7, -0.71] and frame["LPIPS variance"].tolist()[:2] == [0.01, 0.02]
    assert frame["Methods"].tolist() == ["a_1", "ours: x|y", "ours: x|y"]


@pytest.mark.parametrize("form", FORMATS)
def test_every_form_of_a_table_ends_its_last_line(form: str) -> None:
    text = render(TABLE, form)  # type: ignore[arg-type]
    assert text.endswith("\n") and not text.endswith("\n\n")


@pytest.mark.usefixtures("make")
def test_a_table_of_ten_metrics_fits_160_columns(make) -> None:
    make("ablations/guidance/understanding", {"demo": {"psnr": 20.0}}, version=12)
    lines = render(assemble(LAYOUTS["table5"], []), "terminal").splitlines()
    assert 120 < max(map(len, lines)) <= 160
