"""A text file is whole or absent, and what stood there stays until then."""

from pathlib import Path

import pytest

from lit_pure.textfile import write_whole


def test_a_file_is_replaced_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_whole(path, "one\n")
    write_whole(path, "zwei \u00e4\r\n")
    assert path.read_bytes() == "zwei \u00e4\r\n".encode() and list(tmp_path.iterdir()) == [path]


def test_what_stood_there_stays_where_writing_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.txt"
    write_whole(path, "one")
    with pytest.raises(UnicodeEncodeError):
        write_whole(path, "caf\udce9")

    def full(self: Path, target: Path) -> Path:
        raise OSError(28, "No space left on device", str(self))

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OSError, match="No space"):
        write_whole(path, "two")
    assert path.read_text() == "one" and list(tmp_path.iterdir()) == [path]


def test_names_that_are_no_utf8_are_written_as_they_are(tmp_path: Path) -> None:
    write_whole(tmp_path / "a.txt", "caf\udce9", errors="surrogateescape")
    assert (tmp_path / "a.txt").read_bytes() == b"caf\xe9"
