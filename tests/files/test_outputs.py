"""No output replaces a source, whatever it is called, and no two sources share an output."""

import errno
import os
from pathlib import Path

import pytest

from lit_pure.files import outputs
from lit_pure.files.outputs import OutputClash, ends_all, identify, plan_names, require_apart, require_nameable


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """in/a.png, a folder out, and links to both."""
    monkeypatch.chdir(tmp_path)
    for folder in ("in", "out", "else"):
        Path(folder).mkdir()
    Path("in/a.png").write_bytes(b"source")
    Path("linked").symlink_to("in")
    Path("else/link.png").symlink_to("../in/a.png")
    os.link("in/a.png", "else/hard.png")
    return tmp_path


@pytest.mark.parametrize("output", ["in/a.png", "linked/a.png", "else/link.png", "else/hard.png", "out/../in/a.png"])
def test_an_output_that_is_a_source_is_refused_by_any_name(output: str, here: Path) -> None:
    with pytest.raises(OutputClash, match="would replace in/a.png"):
        require_apart([Path("out/a.png"), Path(output)], [Path("in/a.png")])


@pytest.mark.parametrize("folder", ["in", "linked", "./out/../in"])
def test_a_folder_is_not_both_read_and_written_to(folder: str, here: Path) -> None:
    with pytest.raises(OutputClash, match="in would be both read and written to"):
        require_apart([Path(folder, "new.png")], [Path("in")])


def test_outputs_beside_sources_are_accepted(here: Path) -> None:
    require_apart(
        [Path("in/b.png"), Path("out/a.png"), Path("in/deep/a.png"), Path("nowhere/a.png")], [Path("in/a.png")]
    )
    require_apart([Path("in/deep/a.png")], [Path("in"), Path("absent")])


@pytest.mark.parametrize(
    ("sources", "names"),
    [
        (["a.png", "b.jpg"], ["a", "b"]),
        (["x/a.png", "y/a.jpg", "b.png"], ["a.png", "a.jpg", "b"]),
        (["X.png", "x.png"], ["X", "x"]),
        (["caf\udce9.png", "._a.png"], ["caf\udce9", "._a"]),
    ],
)
def test_each_source_has_its_name(sources: list[str], names: list[str], tmp_path: Path) -> None:
    assert plan_names(list(map(Path, sources)), tmp_path) == names


@pytest.mark.parametrize(
    "sources", [["x/a.png", "y/a.png"], ["e\u0301.png", "\u00e9.png"], ["a.png", "a.jpg", "a.jpg.webp"]]
)
def test_two_sources_of_one_name_are_refused(sources: list[str]) -> None:
    with pytest.raises(OutputClash, match="several photographs are named .*; rename them"):
        plan_names(list(map(Path, sources)))


def test_a_file_system_that_folds_names_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not outputs.folds_case(tmp_path / "new")
    monkeypatch.setattr(outputs, "folds_case", lambda folder: True)
    assert plan_names([Path("X.png"), Path("x.jpg")], tmp_path) == ["X.png", "x.jpg"]
    with pytest.raises(OutputClash, match="X.png and x.png"):
        plan_names([Path("X.png"), Path("x.png")], tmp_path)


def test_a_name_that_cannot_be_written_is_found_without_writing(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="too long"):
        require_nameable(tmp_path / f"{'a' * 252}.png")
    (tmp_path / "old.png").write_bytes(b"old")
    for name in ("new.png", "old.png"):
        require_nameable(tmp_path / name)
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"old"]


def test_a_full_disk_or_a_lost_folder_ends_all_and_a_long_name_does_not(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert ends_all(OSError(errno.ENOSPC, "full"), tmp_path)
    assert ends_all(OSError(errno.ENAMETOOLONG, "too long"), tmp_path / "file")
    assert not ends_all(OSError(errno.ENAMETOOLONG, "too long"), tmp_path)


def test_a_source_is_known_by_its_content(tmp_path: Path) -> None:
    for name, content in (("a", b"123456789"), ("b", b"123456780")):
        (tmp_path / name).write_bytes(content)
    assert identify(tmp_path / "a") == {"file": "a", "bytes": 9, "crc32": "cbf43926"}
    assert identify(tmp_path / "b")["crc32"] != "cbf43926"
