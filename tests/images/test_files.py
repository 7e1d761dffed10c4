"""Pictures are recognized by their names; other files are left out."""

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lit_pure.images.files import images_below, list_images


def test_list_images_takes_pictures_by_extension_and_no_folders(tmp_path: Path) -> None:
    for name in ("b.JPG", "a.png", "c.webp", "notes.txt", "d.Tiff"):
        (tmp_path / name).touch()
    (tmp_path / "folder.png").mkdir()
    assert [path.name for path in list_images(tmp_path)] == ["a.png", "b.JPG", "c.webp", "d.Tiff"]
    with pytest.raises(ValueError, match="no pictures"):
        list_images(tmp_path / "folder.png")
    with pytest.raises(ValueError, match="no such folder"):
        list_images(tmp_path / "absent")


@pytest.mark.parametrize("extension", ["jfif", "JPE", "avif", "jp2", "ppm"])
def test_photographs_of_all_usual_formats_are_taken(extension: str, tmp_path: Path) -> None:
    (tmp_path / f"a.{extension}").touch()
    assert len(list_images(tmp_path)) == len(images_below(tmp_path)) == 1


@pytest.mark.parametrize("listed", [list_images, images_below])
def test_hidden_files_and_maps_are_no_pictures_and_others_are_counted(
    listed: Callable[[Path], list[Path]], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ours = ["x.png", "x.json", "x_entropy.png", "x.png.png", "x.png.json", "x.png_entropy.png"]
    for name in [
        *ours,
        "._x.png",
        ".DS_Store",
        ".hidden.jpg",
        "y_entropy.png",
        "Thumbs.db",
        "z.gif",
        "w.gif",
        "z.json",
    ]:
        (tmp_path / name).touch()
    with caplog.at_level("INFO", "lit_pure"):
        assert [path.name for path in listed(tmp_path)] == ["x.png", "x.png.png", "y_entropy.png"]
    assert "4 files are left out, not pictures by extension (.gif 2, .db 1, .json 1)" in caplog.text


@pytest.mark.parametrize("below", ["a/x.png", "a/b/x.JPG", "a/x_entropy.png", "a/x.png a/x.json a/y.png"])
def test_pictures_of_sub_folders_that_are_left_out_are_told(
    below: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name in below.split(" "):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    with pytest.raises(ValueError, match=rf"no pictures in it, but in {tmp_path / 'a'}; give such a folder"):
        list_images(tmp_path)
    (tmp_path / "own.png").touch()
    with caplog.at_level("INFO", "lit_pure"):
        assert list_images(tmp_path) == [tmp_path / "own.png"]
    assert f"{tmp_path}: pictures of sub-folders are left out ({tmp_path / 'a'})" in caplog.text
    caplog.clear()
    list_images(tmp_path, [tmp_path, tmp_path / "a"])
    assert not caplog.text


@pytest.mark.parametrize(
    "below", [".a/x.png", "a/.b/x.png", "a/._x.png", "a/notes.txt", "a/x.png a/x.json a/x_entropy.png"]
)
def test_of_sub_folders_hidden_files_and_what_restore_wrote_are_not_told(
    below: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("own.png", *below.split(" ")):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    with caplog.at_level("INFO", "lit_pure"):
        assert list_images(tmp_path) == [tmp_path / "own.png"]
    assert not caplog.text


@pytest.mark.parametrize("listed", [list_images, images_below])
def test_two_names_that_look_the_same_are_an_error(listed: Callable[[Path], list[Path]], tmp_path: Path) -> None:
    for name in ("e\u0301.png", "\u00e9.png"):
        (tmp_path / name).touch()
    with pytest.raises(ValueError, match="letters composed differently"):
        listed(tmp_path)


def test_images_below_looks_into_folders_once_and_into_hidden_ones_never(tmp_path: Path) -> None:
    for name in ("b/c/1.PNG", "b/2.webp", "a.jpg", "notes.txt", ".hidden/3.png", "b/.4.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "b" / "loop").symlink_to(tmp_path)
    (tmp_path / "elsewhere").symlink_to(tmp_path / "b" / "c")
    found = [path.relative_to(tmp_path).as_posix() for path in images_below(tmp_path)]
    assert found == ["a.jpg", "b/2.webp", "b/c/1.PNG"]
    assert images_below(tmp_path / "absent") == []


def test_a_folder_that_cannot_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a.png", "locked/b.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    scandir = os.scandir

    def locked(place: str) -> Any:  # permissions do not keep root out
        if Path(place).name == "locked":
            raise PermissionError(errno.EACCES, "Permission denied", str(place))
        return scandir(place)

    monkeypatch.setattr(os, "scandir", locked)
    with pytest.raises(PermissionError, match="locked"):
        images_below(tmp_path)
