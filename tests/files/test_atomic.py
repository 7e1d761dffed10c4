"""A text file is whole or absent, and what stood there stays until then."""

import os
from pathlib import Path

import pytest

from lit_pure.files.atomic import whole_file, write_whole


@pytest.mark.parametrize("named", [False, True])
def test_a_block_that_fails_leaves_the_old_file_and_nothing_beside_it(tmp_path: Path, named: bool) -> None:
    path = tmp_path / "a.bin"
    partial = tmp_path / "a.bin.partial" if named else None
    path.write_bytes(b"old")
    with pytest.raises(ZeroDivisionError), whole_file(path, partial) as written:
        written.write_bytes(b"half")
        assert path.read_bytes() == b"old" and written.parent == tmp_path
        raise ZeroDivisionError
    assert path.read_bytes() == b"old" and list(tmp_path.iterdir()) == [path]
    with whole_file(path, partial) as written:
        written.write_bytes(b"new")
        assert partial in (None, written)
    assert path.read_bytes() == b"new" and list(tmp_path.iterdir()) == [path]


def test_a_file_is_replaced_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_whole(path, "one\n")
    write_whole(path, "zwei \u00e4\r\n")
    assert path.read_bytes() == "zwei \u00e4\r\n".encode() and list(tmp_path.iterdir()) == [path]


def test_the_old_file_stays_where_writing_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.txt"
    write_whole(path, "one")
    with pytest.raises(UnicodeEncodeError):
        write_whole(path, "caf\udce9")

    def full(self: Path, target: Path) -> Path:
        raise OSError(28, "No space left on device", str(self))

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OSError, match="No space") as caught:
        write_whole(path, "two")
    assert caught.value.filename == str(path) and caught.value.errno == 28, "the file asked for, not the one in between"
    assert path.read_text() == "one" and list(tmp_path.iterdir()) == [path]


def test_names_that_are_not_utf8_are_written_as_they_are(tmp_path: Path) -> None:
    write_whole(tmp_path / "a.txt", "caf\udce9", errors="surrogateescape")
    assert (tmp_path / "a.txt").read_bytes() == b"caf\xe9"


def test_writing_to_a_link_writes_its_file_and_keeps_the_link(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    real, link, open_end = tmp_path / "there" / "real.txt", tmp_path / "link.txt", tmp_path / "open.txt"
    real.write_text("one")
    link.symlink_to(Path("there") / "real.txt")
    write_whole(link, "two")
    assert link.is_symlink() and real.read_text() == "two"
    open_end.symlink_to(tmp_path / "there" / "new.txt")
    write_whole(open_end, "three")
    assert open_end.is_symlink() and (tmp_path / "there" / "new.txt").read_text() == "three"
    assert sorted(path.name for path in (tmp_path / "there").iterdir()) == ["new.txt", "real.txt"]


def test_what_is_not_a_regular_file_is_not_replaced(tmp_path: Path) -> None:
    pipe, link, folder, loop = (tmp_path / name for name in ("pipe", "link", "folder", "loop"))
    os.mkfifo(pipe)
    link.symlink_to(pipe)
    folder.mkdir()
    loop.symlink_to(loop)
    before = sorted(tmp_path.iterdir())
    for path in (pipe, link, folder, loop, Path(os.devnull)):
        with pytest.raises(OSError) as caught:
            write_whole(path, "one")
        assert caught.value.filename == str(path)
    assert pipe.is_fifo() and link.is_symlink() and sorted(tmp_path.iterdir()) == before
    assert not Path(os.devnull).is_file()


def test_a_missing_folder_is_named_as_it_was_asked_for(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        write_whole(tmp_path / "nowhere" / "a.txt", "one")
    assert caught.value.filename == str(tmp_path / "nowhere" / "a.txt")
