"""Answers that are none, and what a killed download leaves; by a server on this machine."""

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lit_pure.files.download import ABANDONED, download
from tests.server import Silent, serving


class Server(Silent):
    """A whole file, a chunk that ends early, or words that are not HTTP."""

    def do_GET(self) -> None:
        if self.path == "/words":
            self.wfile.write(b"hello\n")
            return
        self.send_response(200)
        if self.path == "/chunk":
            self.send_header("Transfer-Encoding", "chunked")
        else:
            self.send_header("Content-Length", "4")
        self.end_headers()
        self.wfile.write(b"10\r\nhalf" if self.path == "/chunk" else b"here")


@pytest.fixture
def address(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    with serving(Server, monkeypatch) as address:
        yield address


@pytest.mark.parametrize(
    ("end", "words"),
    [
        ("/chunk", "the answer is broken: IncompleteRead.*; try again"),
        ("/words", "the answer is broken: BadStatusLine.*; try again"),
        ("/two words", "it is not a valid URL: .*; check it"),
    ],
)
def test_a_malformed_answer_of_a_server_is_an_error_of_the_network(
    end: str, words: str, address: str, tmp_path: Path
) -> None:
    with pytest.raises(OSError, match=words):
        download(address + end, tmp_path / "file")
    assert not list(tmp_path.iterdir())


def test_what_a_killed_download_left_is_removed_and_what_another_one_writes_stays(address: str, tmp_path: Path) -> None:
    old, fresh, other = (tmp_path / f".{name}.partial" for name in ("f[1].pth.77", "f[1].pth.78", "f2.pth.77"))
    for path in (old, fresh, other):
        path.write_bytes(b"half")
    for path in (old, other):
        os.utime(path, (0, time.time() - ABANDONED - 1))
    download(address + "/file", tmp_path / "f[1].pth")
    assert {path.name for path in tmp_path.iterdir()} == {"f[1].pth", fresh.name, other.name}
