"""Pictures with one name in several folders: which match, which are left out, and the message if none match."""

import shlex
from pathlib import Path

import pytest

from lit_pure.images.matching import match


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def folder(name: str, *files: str) -> Path:
    path = Path(name)
    path.mkdir()
    for file in files:
        (path / file).touch()
    return path


def test_pictures_match_by_their_names_without_extension() -> None:
    pred = folder("pred", "b.png", "a.png", "extra.png", "notes.txt", "._a.png")
    target = folder("target", "a.jpg", "b.PNG", "lonely.png")
    other = folder("other", "a.webp", "b.png", "lonely.png")
    matches = match([pred, target, other])
    assert matches.found == {
        "a": (pred / "a.png", target / "a.jpg", other / "a.webp"),
        "b": (pred / "b.png", target / "b.PNG", other / "b.png"),
    }
    assert list(matches.found) == ["a", "b"] and matches.maps == 0
    assert {str(path): reason for path, reason in matches.left_out} == {
        "pred/extra.png": "no usable picture of this name in target",
        "target/lonely.png": "no usable picture of this name in pred",
        "other/lonely.png": "no usable picture of this name in pred",
    }


def test_of_two_pictures_with_one_name_none_is_guessed() -> None:
    matches = match([folder("pred", "a.png", "a.jpg", "b.png"), folder("target", "a.png", "b.png")])
    assert list(matches.found) == ["b"]
    reasons = {str(path): reason for path, reason in matches.left_out}
    assert reasons["pred/a.png"] == "a.jpg has the same name; remove or rename one of them"
    assert reasons["pred/a.jpg"] == "a.png has the same name; remove or rename one of them"
    assert "target/a.png" in reasons


def test_endings_of_names_are_ignored_only_when_given() -> None:
    pred, target = folder("pred", "a_LR4_x4.png", "b_LR4.png", "_x4.png"), folder("target", "a_HR.png", "b.png")
    assert list(match([pred, target], ["_LR4", "_x4", "_LR4_x4", "_HR"]).found) == ["a", "b"]
    assert match([pred], ["_x4"]).found.keys() == {"a_LR4", "b_LR4", "_x4"}, "something of a name stays"
    assert match([pred]).found.keys() == {"a_LR4_x4", "b_LR4", "_x4"}


@pytest.mark.parametrize(
    ("pred", "target", "endings"),
    [
        (["img1_x4", "img11_x4"], ["img1", "img11"], "_x4"),
        (["Canon_001_LR4", "Canon_002_LR4"], ["Canon_001_HR", "Canon_002_HR"], "_HR+_LR4"),
        (["a_out"], ["a"], "_out"),
        (["a", "b", "other"], ["a-sr", "b-sr", "c-sr"], "-sr"),
        (["a copy", "b copy"], ["a", "b"], " copy"),
        (["it's a-1'"], ["it's a"], "-1'"),
    ],
)
def test_where_no_names_match_the_endings_that_would_help_are_suggested(
    pred: list[str], target: list[str], endings: str
) -> None:
    folders = [folder(name, *(f"{stem}.png" for stem in stems)) for name, stems in (("p", pred), ("t", target))]
    with pytest.raises(ValueError, match=r"give --ignore-suffix=") as told:
        match(folders)
    flags = shlex.split(str(told.value).partition(" give ")[2])
    assert flags == [f"--ignore-suffix={ending}" for ending in endings.split("+")]
    assert f"{pred[0]}.png" in str(told.value) and f"{target[0]}.png" in str(told.value)
    assert match(folders, endings.split("+")).found, "the advice helps"


@pytest.mark.parametrize(("pred", "target"), [(["cat", "dog"], ["sun", "moon"]), (["x_1", "x_3"], ["x_2", "x_4"])])
def test_endings_that_would_not_help_are_not_suggested(pred: list[str], target: list[str]) -> None:
    folders = [folder(name, *(f"{stem}.png" for stem in stems)) for name, stems in (("p", pred), ("t", target))]
    with pytest.raises(ValueError, match=r"rename the files of one folder.*with --ignore-suffix$"):
        match(folders)


def test_names_match_however_their_letters_are_composed() -> None:
    folders = [folder("p", "e\u0301_x4.png", "a_x4.png"), folder("t", "\u00e9.png", "a.png")]
    found = match(folders, ["_x4"]).found
    assert sorted(found) == ["a", "\u00e9"] and found["\u00e9"][0].name == "e\u0301_x4.png"


def test_maps_that_restore_writes_beside_its_pictures_are_not_matched() -> None:
    pred = folder("pred", "a.png", "a.json", "a_entropy.png", "b_entropy.png", "c.png", "c_entropy.png")
    matches = match([pred])
    assert matches.maps == 1, "a_entropy.png alone has its picture and its description beside it"
    assert set(matches.found) == {"a", "b_entropy", "c", "c_entropy"}


def test_matching_refuses_folders_without_usable_pictures() -> None:
    with pytest.raises(ValueError, match="absent: no such folder"):
        match([Path("absent")])
    outer = folder("outer")
    with pytest.raises(ValueError, match="outer: no pictures in it"):
        match([outer])
    folder("outer/inner", "a.png", "b.png")
    with pytest.raises(ValueError, match="outer: no pictures in it, but 2 in outer/inner; give that folder"):
        match([outer])
    with pytest.raises(ValueError, match=r"twice: no usable picture \(a.jpg: a.png has the same name"):
        match([folder("twice", "a.jpg", "a.png"), Path("outer/inner")])
