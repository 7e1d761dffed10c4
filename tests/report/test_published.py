"""Published figures against the papers' text, which is parsed independently here, and against each other."""

import re
from pathlib import Path

import pytest

from lit_pure.report.published import FOLDER, Paper, load

SPELLED = {"OSDiff": "OSEDiff", "CLIPQA": "CLIPIQA", "CLIQQA": "CLIPIQA"}
"""What the paper prints, and how it is spelled here."""
Found = dict[tuple[str, str, str], str]
"""Test set, row, column: the figure as printed, "-" where there is none."""


@pytest.fixture(scope="module")
def reference(shared: Path) -> Path:
    folder = shared.parent / "reference"
    if not (folder / "paper.txt").is_file():
        pytest.skip("no text of the papers here")
    return folder


def flat(paper: Paper, key: str) -> Found:
    table = paper.tables[key]
    return {
        (name, row, label): "-" if figure is None else figure.text
        for name, rows in table.sets.items()
        for row, cells in rows.items()
        for label, figure in zip(table.columns, cells, strict=True)
    }


def printed(reference: Path, number: int) -> list[list[str]]:
    """The cells of a table in the paper's text, without italics and arrows."""
    text = (reference / "paper.txt").read_text(encoding="utf-8")
    body = re.split(rf"^Table {number}\. ", text, flags=re.MULTILINE)[1].split("\n\n")[1]
    rows = [re.sub(r"<[^>]*>|\\\w+arrow|\$", "", line).split("\t") for line in body.splitlines()]
    return [[SPELLED.get(cell.strip(), cell.strip()) for cell in row] for row in rows]


def table(rows: list[list[str]], on: str = "") -> Found:
    """A printed table with the test set in its first column, or with one test set for all."""
    head, *body = rows if not on else [["", *rows[0]], *([on, *row] for row in rows[1:])]
    found: Found = {}
    for name, row, *cells in body:
        on = name or on
        found |= {(on, row, label): cell for label, cell in zip(head[2:], cells, strict=True)}
    return found


@pytest.mark.parametrize(
    ("number", "on", "figures"),
    [(2, "", 180), (3, "RealLQ250", 30), (5, "DrealSR", 40), (6, "DrealSR", 30)],
)
def test_tables_of_quality_are_those_of_the_paper(reference: Path, number: int, on: str, figures: int) -> None:
    found = table(printed(reference, number), on)
    assert len(found) == figures
    assert flat(load("pure"), f"table{number}") == found


def test_directions_of_published_columns_are_the_arrows_of_the_paper(reference: Path) -> None:
    text = (reference / "paper.txt").read_text(encoding="utf-8")
    for number in (2, 3, 5, 6):
        head = re.split(rf"^Table {number}\. ", text, flags=re.MULTILINE)[1].split("\n\n")[1].splitlines()[0]
        arrows = re.findall(r"(\w+) \\(up|down)arrow", head)
        told = {SPELLED.get(name, name): {"up": "higher", "down": "lower"}[way] for name, way in arrows}
        assert told == load("pure").tables[f"table{number}"].columns


def test_table_1_is_that_of_the_paper(reference: Path) -> None:
    head, vae, vqgan = printed(reference, 1)
    sets = load("pure").tables["table1"].sets
    assert list(sets) == head[1:]
    for rows, one, other in zip(sets.values(), vae[1:], vqgan[1:], strict=True):
        (first,), (second,) = rows["VAE"], rows["VQGAN"]
        assert first is not None and second is not None
        assert first.text == one and f"{second.text} ({second.aside})" == other


def test_table_4_is_that_of_the_paper(reference: Path) -> None:
    head, times, sizes = printed(reference, 4)
    (rows,) = load("pure").tables["table4"].sets.values()
    assert {name: [figure and figure.text for figure in cells] for name, cells in rows.items()} == {
        name: [time, size] for name, time, size in zip(head[1:], times[1:], sizes[1:], strict=True)
    }


def test_the_selection_rate_is_that_of_the_paper(reference: Path) -> None:
    rate = re.search(r"a selection rate of ([\d.]+)%", (reference / "paper.txt").read_text(encoding="utf-8"))
    assert rate and list(flat(load("pure"), "figure5").values()) == [rate[1]]


def zeros(cell: str) -> str:
    """.25/.003 is printed 0.25/0.003."""
    return re.sub(r"(?<!\d)\.", "0.", cell)


def cells_of(notes: str) -> list[list[str]]:
    """The cells of all lines of tables."""
    lines = [line.removeprefix("|").removesuffix("|") for line in notes.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.split("|")] for line in lines if "---" not in line]


def test_nsarm_s_results_are_those_of_the_notes(reference: Path) -> None:
    notes = (reference / "nsarm.md").read_text(encoding="utf-8").split("### 4.4")[1].split("\nRobustness")[0]
    (_, _, *labels), *body = cells_of(notes)
    found: Found = {}
    on = ""
    for name, row, *cells in body:
        on = re.sub(r" (\d+|\(no ref\))$", "", name) or on
        found |= {(on, row, label): zeros(cell) for label, cell in zip(labels, cells, strict=True)}
    table = load("nsarm").tables["results"]
    ours = {
        (name, row, label): "-" if one is None else f"{one.text}/{one.aside}" if one.aside else one.text
        for name, rows in table.sets.items()
        for row, cells in rows.items()
        for label, one in zip(table.columns, cells, strict=True)
    }
    assert len(found) == 26 * 8 and ours == found


def test_nsarm_s_counts_and_times_are_those_of_the_notes(reference: Path) -> None:
    notes = (reference / "nsarm.md").read_text(encoding="utf-8").split("\nRobustness")[1]
    head, *body = cells_of(notes)[:4]
    counts = load("nsarm").tables["robustness"].sets
    for on, *cells in body:
        rows = counts[on.split()[0]]
        assert list(rows) == head[1:]
        for figures, cell in zip(rows.values(), cells, strict=True):
            assert "/".join(figure.text for figure in figures if figure) == cell.strip("-")
    told = re.search(r"Time on A800.*?8760", notes, flags=re.DOTALL)
    assert told
    times = re.findall(r"([\w-]+) ([\d.]+) \((\d+)\)/(\d+)", told[0])
    found = flat(load("nsarm"), "time")
    assert len(found) == 2 * len(times) == 14
    for name, seconds, side, size in times:
        assert found[f"{side} px, A800", name, "Time (s)"] == zeros(seconds)
        assert found[f"{side} px, A800", name, "Param (M)"] == size


def test_pure_s_own_row_is_the_same_wherever_the_paper_prints_it() -> None:
    tables = load("pure").tables
    own = tables["table2"].sets["DrealSR"]["PURE"]
    assert own == tables["table5"].sets["DrealSR"]["Full Guidance"] == tables["table6"].sets["DrealSR"]["Dynamic Top-k"]


def test_the_differences_of_table_1_are_differences() -> None:
    for rows in load("pure").tables["table1"].sets.values():
        (vae,), (vqgan,) = rows["VAE"], rows["VQGAN"]
        assert vae is not None and vqgan is not None
        # The paper rounds the difference, not what it is a difference of: 33.59 - 36.20 is printed as -2.62.
        assert float(vqgan.aside) == pytest.approx(vqgan.value - vae.value, abs=0.0101)


def test_published_figures_keep_their_digits() -> None:
    (figure,) = load("pure").tables["table1"].sets["OST-Val"]["VAE"]
    assert figure is not None and figure.text == "25.00" and figure.value == 25 and figure.decimals == 2


def test_every_file_of_published_figures_names_its_source() -> None:
    papers = {path.stem: load(path.stem) for path in FOLDER.glob("*.yaml")}
    assert {name: paper.arxiv for name, paper in papers.items()} == {"pure": "2503.11073", "nsarm": "2510.00820"}
    assert all(table.place and table.title for paper in papers.values() for table in paper.tables.values())


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("[23.43,", "[23.4x,", r"tables.table5.sets.DrealSR.No Guidance = '23.4x': give a number"),
        ("[23.43,", "[nan,", r"tables.table5.sets.DrealSR.No Guidance = 'nan'"),
        ("[23.43, ", "[", r"tables.table5.sets.DrealSR.No Guidance = .*: 9 figures for the 10 columns PSNR"),
        ("[23.43,", "[[23.43],", r"tables.table5.sets.DrealSR.No Guidance = \['23.43'\]"),
        ("24.29 (-0.71)", "24.29 (0.71", r"tables.table1.sets.OST-Val.VQGAN = '24.29 \(0.71'"),
        ("aside: difference", "aside: differenz", r"tables.table1.*"),
        ("aside: difference", "aside: [a]", r"tables.table1.*"),
        ("{PSNR: higher}", "{PSNR: best}", r"tables.table1.columns.PSNR = 'best': write higher, lower or nothing"),
        ("place: table 3", "place: [3]", r"tables.table3.place = \['3'\]: give a text"),
        ("place: table 3", "spot: table 3", r"tables.table3.spot = 'table 3': no such key"),
        ('"2503.11073"', "PURE", r"arxiv = 'PURE': give a number"),
        ("paper: PURE", "paper: ''", r"paper = '': give a name"),
        ("        Top-2000: ", "        Top-1: ", r"the key Top-1 is repeated"),
        ("tables:", "tabels:", r"tables = None: expected keys and values"),
        ("tables:", "tables: {", r"cannot be read"),
    ],
)
def test_a_damaged_file_of_published_figures_is_refused_with_key_and_value(
    tmp_path: Path, old: str, new: str, told: str
) -> None:
    text = (FOLDER / "pure.yaml").read_text(encoding="utf-8")
    assert old in text
    (tmp_path / "pure.yaml").write_text(text.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(ValueError, match=rf"pure\.yaml.*{told}"):
        load("pure", tmp_path)


def test_a_missing_paper_or_table_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="absent.yaml cannot be read"):
        load("absent", tmp_path)
    with pytest.raises(ValueError, match="has no tables.table9 of PURE"):
        load("pure").table("table9")
