"""Encoded pictures as tests need them, byte by byte, where Pillow writes none: chunks of PNG, 16 bits, profiles."""

import struct
import zlib

import numpy as np
from numpy.typing import NDArray
from PIL import ImageCms

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_KINDS = {1: 0, 2: 4, 3: 2, 4: 6}  # channels -> PNG's kind of colours


def chunk(kind: bytes, data: bytes = b"", *, damaged: bool = False) -> bytes:
    """A chunk of PNG; `damaged`: with a wrong checksum."""
    checksum = zlib.crc32(kind + data) ^ damaged
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", checksum)


def png(values_HWC: NDArray[np.integer], *before: bytes, behind: bytes = b"") -> bytes:
    """A PNG of uint8 or uint16, with chunks before and behind its pixels."""
    height, width, channels = values_HWC.shape
    big = values_HWC.astype(values_HWC.dtype.newbyteorder(">"))
    rows = b"".join(b"\0" + row.tobytes() for row in big)
    head = struct.pack(">IIBBBBB", width, height, 8 * values_HWC.itemsize, _KINDS[channels], 0, 0, 0)
    pixels = chunk(b"IDAT", zlib.compress(rows))
    return b"".join([SIGNATURE, chunk(b"IHDR", head), *before, pixels, behind, chunk(b"IEND")])


def exif(orientation: int, tag: int = 0, kind: int = 0, data: bytes = b"") -> bytes:
    """EXIF with an orientation, and another entry with 8 bytes of data."""
    entries = [struct.pack("<HHIHH", 0x0112, 3, 1, orientation, 0)]
    if tag:
        entries.append(struct.pack("<HHII", tag, kind, 1, 8 + 2 + 2 * 12 + 4))
    head = b"II*\0" + struct.pack("<I", 8) + struct.pack("<H", len(entries))
    return head + b"".join(sorted(entries)) + bytes(4) + data


def srgb() -> bytes:
    """LittleCMS's profile of sRGB."""
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def red_is_green() -> bytes:
    """The profile of a space like sRGB whose first channel is green: a conversion exchanges red and green."""
    return srgb().replace(b"rXYZ", b"____", 1).replace(b"gXYZ", b"rXYZ", 1).replace(b"____", b"gXYZ", 1)


def linear_gray() -> bytes:
    """The profile of grey levels in proportion to light."""
    profile = bytearray(srgb().replace(b"rTRC", b"kTRC", 1))
    profile[16:20] = b"GRAY"
    start = profile.index(b"kTRC") + 4
    curve = struct.unpack(">I", profile[start : start + 4])[0]
    profile[curve : curve + 12] = b"curv" + bytes(8)  # a curve without points is a straight line
    return bytes(profile)
