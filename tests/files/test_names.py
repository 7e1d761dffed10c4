"""Names that look the same are the same; those that cannot be told apart are refused."""

from pathlib import Path

import pytest

from lit_pure.files.names import as_on_disk, in_order, nfc, require_distinct

COMPOSED, DECOMPOSED = "caf\u00e9", "cafe\u0301"


@pytest.mark.parametrize(
    ("one", "other"),
    [(COMPOSED, DECOMPOSED), ("\u1112\u1161\u11ab.png", "\ud55c.png"), ("A\u030a\udce9", "\u00c5\udce9")],
)
def test_letters_and_their_parts_are_one_name(one: str, other: str) -> None:
    assert nfc(one) == nfc(other) and one != other


def test_a_name_that_is_not_utf8_stays_what_it_is() -> None:
    assert nfc("caf\udce9") == "caf\udce9"


def test_the_order_of_files_does_not_depend_on_how_names_are_written() -> None:
    names = ["e", "f", "{}", "z"]
    orders = [
        [nfc(path.name) for path in in_order(Path("a", name.format(accented)) for name in names)]
        for accented in ("\u00e9", "e\u0301")
    ]
    assert orders[0] == orders[1] == ["e", "f", "z", "\u00e9"]


def test_two_names_that_look_the_same_are_refused_in_ascii() -> None:
    with pytest.raises(ValueError, match=r"'caf\\xe9.png' and 'cafe\\u0301.png'") as told:
        require_distinct([Path("in", f"{name}.png") for name in (COMPOSED, DECOMPOSED)])
    assert str(told.value).startswith("in: ")
    require_distinct([Path("a", COMPOSED), Path("b", DECOMPOSED)])


def test_a_file_is_found_by_a_name_that_looks_the_same(tmp_path: Path) -> None:
    folder = tmp_path / DECOMPOSED
    folder.mkdir()
    (folder / f"{DECOMPOSED}.png").touch()
    assert as_on_disk(tmp_path / COMPOSED / f"{COMPOSED}.png").samefile(folder / f"{DECOMPOSED}.png")
    assert as_on_disk(tmp_path / COMPOSED / "absent.png") == folder / "absent.png"
    assert as_on_disk(Path("absent.png")) == Path("absent.png")
