"""Pictures of many megapixels: kept in a file instead of memory, and written as PNG a few rows at a time.

Pillow copies a picture before it writes it, which takes 4 bytes a pixel. Here only a few rows are copied. Knows the
PNG format. Knows nothing of where pictures come from; `io.write_png` decides who writes.

Shape legend: H height, W width, n rows, b bytes of a row.
"""

import os
import struct
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

LARGE = 2**26
"""Pixels from which a picture is large: 0.2 GB in memory, 0.45 GB while Pillow writes it."""
STRIP = 2**18
"""Pixels that are filtered at once."""
RGB = 3

Bytes = NDArray[np.uint8]


def is_large(height: int, width: int) -> bool:
    """Whether a picture of this size [px] is kept and written as here."""
    return height * width >= LARGE


def empty_picture(height: int, width: int) -> Bytes:
    """An array (H, W, 3), uint8; a large one is mapped from a temporary file, whose pages need not stay in memory.

    The file has no name and ends with the array. Where the folder of temporary files (TMPDIR) has no room, memory is
    used. Raises MemoryError where that is short.
    """
    shape, length = (height, width, RGB), height * width * RGB
    if is_large(height, width) and hasattr(os, "posix_fallocate"):
        try:
            with tempfile.TemporaryFile() as file:
                os.posix_fallocate(file.fileno(), 0, length)  # or a full disk would end the process later
                return np.memmap(file, np.uint8, "r+", shape=shape)
        except OSError:
            pass
    return np.empty(shape, np.uint8)


def write_strips(path: Path, picture_HW3: Bytes, software: str = "") -> None:
    """Write a PNG of 8-bit RGB that names the software that made it, if any, in Latin-1. Raises OSError."""
    height, width = picture_HW3.shape[:2]
    packer = zlib.compressobj(strategy=zlib.Z_FILTERED)
    with path.open("wb") as file:
        file.write(b"\x89PNG\r\n\x1a\n")
        file.write(_chunk(b"IHDR", struct.pack(">2I5B", width, height, 8, 2, 0, 0, 0)))
        if software:
            file.write(_chunk(b"tEXt", b"Software\0" + software.encode("latin-1")))
        for rows_nb in _filtered(picture_HW3):
            if packed := packer.compress(rows_nb.tobytes()):
                file.write(_chunk(b"IDAT", packed))
        file.write(_chunk(b"IDAT", packer.flush()))
        file.write(_chunk(b"IEND", b""))


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def _filtered(picture_HW3: Bytes) -> Iterator[Bytes]:
    """Rows as PNG filters them, a few at once, each with the number of its filter in front.

    Of the filters, each row has the one that leaves the smallest sum, as the PNG specification recommends (12.7).
    """
    height, width = picture_HW3.shape[:2]
    above_b = np.zeros(width * RGB, np.uint8)
    most = max(1, STRIP // width)
    for top in range(0, height, most):
        rows_nb = np.array(picture_HW3[top : top + most]).reshape(-1, width * RGB)
        up_nb = np.concatenate([above_b[None], rows_nb[:-1]])
        left_nb, corner_nb = (np.pad(some_nb, ((0, 0), (RGB, 0)))[:, :-RGB] for some_nb in (rows_nb, up_nb))
        candidates = [rows_nb, rows_nb - left_nb, rows_nb - up_nb, rows_nb - _paeth(left_nb, up_nb, corner_nb)]
        sums = [np.abs(some_nb.view(np.int8), dtype=np.int16).sum(1, dtype=np.int64) for some_nb in candidates]
        best_n = np.argmin(sums, 0)
        chosen_nb = np.choose(best_n[:, None], candidates)
        numbers_n1 = np.array([0, 1, 2, 4], np.uint8)[best_n][:, None]
        yield np.concatenate([numbers_n1, chosen_nb], 1)
        above_b = rows_nb[-1]


def _paeth(left_nb: Bytes, up_nb: Bytes, corner_nb: Bytes) -> Bytes:
    """Of the three neighbours the one nearest to left + up - corner (PNG specification, 9.4)."""
    left, up, corner = (some_nb.astype(np.int16) for some_nb in (left_nb, up_nb, corner_nb))
    to_left, to_up, to_corner = np.abs(up - corner), np.abs(left - corner), np.abs(left + up - 2 * corner)
    nearest_nb = np.where(to_up <= to_corner, up_nb, corner_nb)
    return np.where((to_left <= to_up) & (to_left <= to_corner), left_nb, nearest_nb)
