"""Opens an encoded picture, so that nothing beside its pixels can refuse it.

Knows how large a picture may be on this machine, where a file says how it is turned, and which parts of a PNG are read
at all. Knows nothing of what pixels mean (`decoding.py`, `profiles.py`). Everything that Pillow decodes is opened here.

Orientation and colour profile are those that stand before the pixels: size and pixels then agree without a look at the
end of the file, and the eXIf chunk that a PNG has behind its pixels is ignored, as in browsers.
"""

import os
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from io import BytesIO
from pathlib import Path
from typing import IO

from PIL import Image
from PIL.ImageFile import ImageFile
from PIL.PngImagePlugin import PngStream
from PIL.TiffImagePlugin import TiffImageFile

# Pillow takes a large photograph for an attack, in such words, whatever the memory: `most_pixels` decides instead.
Image.MAX_IMAGE_PIXELS = None
# It would warn for each such picture, naming its own source file; the orientation then counts as missing.
warnings.filterwarnings("ignore", "Corrupt EXIF data", module=r"PIL\.")

MOST_PIXELS = 2**30
"""Pixels of the largest picture that is read on any machine; photographs have up to 400 million."""
BYTES_A_PIXEL = 20
"""Memory that reading takes at its peak [bytes per pixel]: float32, and Pillow's own copy."""

_ORIENTATION = 0x0112
_SIDEWAYS = (5, 6, 7, 8)  # EXIF orientations that swap height and width
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_TIFF_WIDTH, _TIFF_HEIGHT = 256, 257
_PNG = b"\x89PNG\r\n\x1a\n"
_NO_PROFILE = b"iCCPdamaged\0\0" + zlib.compress(b"")
"""Kind and data of the chunk in place of a damaged profile, which is then reported like those of other formats."""
_SIDE_CHUNKS = (b"iCCP", b"eXIf", b"tEXt", b"zTXt", b"iTXt")  # text may contain EXIF or XMP, and so the orientation


class TooManyPixels(ValueError):
    """A picture that is larger than `most_pixels`."""


def most_pixels() -> int:
    """Pixels of the largest picture that is read here: at its peak it takes half of this machine's memory."""
    try:
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # not on every system
        return MOST_PIXELS
    return min(MOST_PIXELS, memory // 2 // BYTES_A_PIXEL)


@contextmanager
def opened(path: Path, content: IO[bytes] | None = None, *, pixels: bool = True) -> Iterator[ImageFile]:
    """The picture of a file by its header; Pillow decodes its pixels when they are asked for.

    Args:
        path: of the file.
        content: an open file to read instead; `path` is not used then.
        pixels: False: only the header is needed, and of a PNG no more is read.

    Raises:
        TooManyPixels: it is larger than `most_pixels`.
        Exception: nearly any, where Pillow meets damage.
    """
    with path.open("rb") if content is None else nullcontext(content) as stream:
        start = stream.tell()
        is_png = stream.read(len(_PNG)) == _PNG
        stream.seek(start)
        with Image.open(_png_pixels(stream, pixels) if is_png else stream) as file:
            width, height = file.size
            if width * height > (most := most_pixels()):
                raise TooManyPixels(
                    f"{height} x {width} px are more than the {most:,} pixels that are read on this machine, "
                    "by its memory; cut it into parts"
                )
            yield file


def upright_size(file: Image.Image) -> tuple[int, int]:
    """Height and width [px] of the upright picture; its pixels are not decoded."""
    width, height = file.size
    if isinstance(file, TiffImageFile):  # some versions of Pillow swap the sides already here, some do not
        width, height = file.tag_v2[_TIFF_WIDTH], file.tag_v2[_TIFF_HEIGHT]
    return (width, height) if _orientation(file) in _SIDEWAYS else (height, width)


def upright(file: Image.Image) -> Image.Image:
    """The decoded picture, turned as its header says; nothing else that stands in its EXIF matters."""
    turn = None if isinstance(file, TiffImageFile) else _TURNS.get(_orientation(file))  # Pillow turns a TIFF itself
    file.load()
    return file if turn is None else file.transpose(turn)


def _orientation(file: Image.Image) -> int:
    """1 to 8; 1, which is upright, where EXIF is missing or damaged."""
    try:
        exif = Image.Image.getexif(file)  # the PNG class overrides getexif and decodes all pixels first
        return int(exif.get(_ORIENTATION, 1))
    except Exception:  # Pillow's parser raises nearly anything when EXIF is damaged
        return 1


def _png_pixels(stream: IO[bytes], pixels: bool) -> IO[bytes]:
    """The PNG without what says nothing about its pixels, or cannot be read, or stands behind the first of them."""
    source = BytesIO(stream.read()) if pixels else stream
    kept, side, in_pixels = [source.read(len(_PNG))], PngStream(BytesIO()), False
    while len(head := source.read(8)) == 8:
        length, kind = int.from_bytes(head[:4]), head[4:]
        in_pixels = in_pixels or kind == b"IDAT"
        if in_pixels and not pixels:
            kept.append(head)
            break
        body = source.read(length + 4)
        critical = kind[:1].isupper() or kind == b"tRNS"
        if critical or (kind in _SIDE_CHUNKS and not in_pixels and _readable(side, kind, body)):
            kept += [head, body]
        elif kind == b"iCCP" and not in_pixels:
            kept += [(len(_NO_PROFILE) - 4).to_bytes(4), _NO_PROFILE, zlib.crc32(_NO_PROFILE).to_bytes(4)]
    return BytesIO(b"".join(kept))


def _readable(side: PngStream, kind: bytes, body: bytes) -> bool:
    """Whether a chunk is undamaged, and Pillow reads it: it refuses text that expands to more than a megabyte."""
    data, checksum = body[:-4], body[-4:]
    side.fp = BytesIO(data)
    try:
        side.call(kind, 0, len(data))
    except Exception:  # Pillow raises nearly anything when a chunk is damaged
        return False
    return zlib.crc32(kind + data).to_bytes(4) == checksum
