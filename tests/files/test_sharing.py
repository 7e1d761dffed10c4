"""What processes need to pass data to each other: found out before anything is made, and told in one line."""

import multiprocessing
import os
import resource
import tempfile
from collections.abc import Iterator
from multiprocessing.connection import Listener
from pathlib import Path
from types import SimpleNamespace

import pytest

from lit_pure.files import sharing


@pytest.fixture
def long_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Temporary files go to a folder of a long name, and no socket's folder is known yet."""
    folder = tmp_path / ("x" * 120)
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    config = multiprocessing.current_process()._config  # type: ignore[attr-defined]
    before = config.pop("tempdir", None)
    yield folder
    config["tempdir"] = before
    if before is None:
        del config["tempdir"]


def test_sockets_are_made_in_a_short_folder_where_that_of_temporary_files_is_long(long_folder: Path) -> None:
    with pytest.raises(OSError, match="path too long"):
        Listener(family="AF_UNIX")
    multiprocessing.current_process()._config.pop("tempdir")  # type: ignore[attr-defined]
    sharing.keep_sockets_short()
    with Listener(family="AF_UNIX") as listener:
        assert Path(str(listener.address)).exists()
    with tempfile.TemporaryDirectory() as other:
        assert Path(other).parent == long_folder, "other files stay where they were"


def test_no_short_folder_is_an_error_that_names_tmpdir(long_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sharing, "SHORT_FOLDERS", (str(long_folder / "absent"),))
    with pytest.raises(ValueError, match="TMPDIR = .* is too long for sockets"):
        sharing.keep_sockets_short()


def test_a_short_folder_of_temporary_files_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", "/t")
    monkeypatch.setattr("multiprocessing.util.get_temp_dir", lambda: pytest.fail("nothing is to be made"))
    sharing.keep_sockets_short()


@pytest.mark.parametrize(("blocks", "free", "refused"), [(16, 15, True), (16, 16, False), (0, 0, False)])
def test_shared_memory_that_does_not_suffice_is_refused_with_the_remedy(
    blocks: int, free: int, refused: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sharing, "SHARED_MEMORY", tmp_path)
    monkeypatch.setattr(os, "statvfs", lambda _: SimpleNamespace(f_blocks=blocks, f_bavail=free, f_frsize=4096))
    if not refused:
        sharing.require_shared_memory(16 * 4096, "data.num_workers = 2")
        return
    with pytest.raises(ValueError, match=r"data.num_workers = 2 needs 0\.1 MB .* 0\.1 MB left; .*--shm-size"):
        sharing.require_shared_memory(16 * 4096, "data.num_workers = 2")


@pytest.mark.parametrize(
    ("limits", "set_to"),
    [((64, 8192), 4096), ((64, 600), 600), ((500, 500), None), ((64, resource.RLIM_INFINITY), 4096), ((-1, -1), None)],
    ids=["raised", "as far as it goes", "enough", "no hard limit", "no limit"],
)
def test_the_limit_of_open_files_is_raised_as_far_as_the_system_lets_us(
    limits: tuple[int, int], set_to: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "getrlimit", lambda _: limits)
    monkeypatch.setattr(resource, "setrlimit", lambda _, new: seen.append(new))
    sharing.allow_open_files(500, "data.num_workers = 2")
    assert seen == ([(set_to, limits[1])] if set_to else [])


def test_too_low_a_limit_of_open_files_is_refused_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (64, 64))
    with pytest.raises(ValueError, match=r"data.num_workers = 2 may have 500 .* allows 64; .*ulimit -n"):
        sharing.allow_open_files(500, "data.num_workers = 2")


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (RuntimeError("Caught ... unable to allocate shared memory(shm) for file </torch_1>: No space left"), "--shm-"),
        (OSError("AF_UNIX path too long"), "TMPDIR = "),
        (OSError(24, "Too many open files"), "ulimit -n"),
        (RuntimeError("Caught OSError in DataLoader worker process 0.\n[Errno 24] Too many open files"), "ulimit -n"),
        (RuntimeError("shapes differ"), ""),
    ],
)
def test_what_ran_out_is_told_in_one_line(error: Exception, words: str) -> None:
    said = sharing.shortage(error)
    assert words in said and bool(said) == bool(words) and "\n" not in said
