"""Large pictures: a file behind the array, and a PNG that Pillow reads back to the last bit."""

import errno
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from lit_pure.config.experiment import RestoringConfig
from lit_pure.images import large
from lit_pure.images.io import read_bytes, write_png
from lit_pure.images.large import empty_picture, write_strips
from lit_pure.restoring.tiled import restore_photo
from tests.restoring.codes import Scribbler, photo


def picture(height: int, width: int) -> "np.ndarray[Any, np.dtype[np.uint8]]":
    """Noise, a ramp and a flat part: each is best served by another filter."""
    made_HW3 = np.random.default_rng(0).integers(0, 256, (height, width, 3)).astype(np.uint8)
    made_HW3[height // 3 :] = np.arange(width)[None, :, None] % 256
    made_HW3[height // 2 :] += np.arange(height - height // 2, dtype=np.uint8)[:, None, None]
    made_HW3[-(height // 4) :] = 7
    return made_HW3


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 9), (9, 1), (40, 61), (64, 64)])
@pytest.mark.parametrize("strip", [1, 200, 2**18])
def test_pillow_reads_back_what_is_written_in_strips(
    height: int, width: int, strip: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(large, "STRIP", strip)
    made_HW3 = picture(height, width)
    write_strips(tmp_path / "a.png", made_HW3)
    with Image.open(tmp_path / "a.png") as read:
        assert read.mode == "RGB" and np.array_equal(np.asarray(read), made_HW3)
    with Image.open(tmp_path / "a.png") as read:
        read.verify()


def test_a_photograph_takes_no_more_room_than_pillow_s(tmp_path: Path) -> None:
    skimage = pytest.importorskip("skimage.data")
    made_HW3 = np.ascontiguousarray(skimage.astronaut())
    write_strips(tmp_path / "ours.png", made_HW3)
    Image.fromarray(made_HW3).save(tmp_path / "pillow.png")
    assert (tmp_path / "ours.png").stat().st_size <= 1.02 * (tmp_path / "pillow.png").stat().st_size


@pytest.mark.parametrize("context", [None, 2])
def test_a_large_restoration_has_the_pixels_of_a_small_one(
    context: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("small", "large"):
        restorer = Scribbler(RestoringConfig(tiles="continue", overlap=0.3), context)
        made = restore_photo(restorer, photo(40, 61), "a")
        write_png(tmp_path / f"{name}.png", made.pixels_3HW)
        monkeypatch.setattr(large, "LARGE", 1)
    assert torch.equal(read_bytes(tmp_path / "small.png"), read_bytes(tmp_path / "large.png"))
    assert (tmp_path / "small.png").read_bytes() != (tmp_path / "large.png").read_bytes(), "they were written otherwise"


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="large pictures are in memory here")
def test_a_large_picture_is_in_a_file_without_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(large, "LARGE", 100)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    assert isinstance(empty_picture(10, 10), np.memmap) and not isinstance(empty_picture(9, 11), np.memmap)
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="large pictures are in memory here")
def test_where_the_disk_has_no_room_memory_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(large, "LARGE", 100)
    monkeypatch.setattr(os, "posix_fallocate", refuse)
    made_HW3 = empty_picture(10, 10)
    assert not isinstance(made_HW3, np.memmap) and made_HW3.shape == (10, 10, 3)


def test_a_full_disk_leaves_no_half_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(large, "LARGE", 1)
    monkeypatch.setattr(large, "_filtered", refuse)
    with pytest.raises(OSError, match="cannot write the picture"):
        write_png(tmp_path / "a.png", torch.zeros(3, 4, 4))
    assert not list(tmp_path.iterdir())
