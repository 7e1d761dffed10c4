"""Examines one file of a data set: whether all of it can be read, and what may be wrong with it.

Knows what Pillow forgives and training should not: wrong checksums in PNG, missing ends, pictures without content.
Knows nothing of folders or of other files.

Not detected: changed bytes inside a JPEG, a BMP or an uncompressed TIFF, which have no checksum. Only long runs of
zeros in a JPEG are reported, as a warning, since they may also encode a flat area.

Suffixes: 3 RGB, H height, W width.
"""

import hashlib
import warnings
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from lit_pure.images.io import BadImage, read_image
from lit_pure.images.opening import TooManyPixels, opened

SAME_FORMAT = {"MPO": "JPEG"}
"""Formats with two names: cameras write a JPEG followed by a preview, which Pillow calls MPO."""
ZEROS = 1024
"""Length of a run of zero bytes that is suspect in a JPEG's data: lost sectors leave 512, 4,096 or more."""
FLAT = 2.5 / 255
"""A picture whose channels all have a range of at most this has no content."""
_MARKER, _SCAN, _END = 0xFF, 0xDA, b"\xff\xd9"  # of a JPEG: any segment, its compressed data, its end


@dataclass(frozen=True)
class Examination:
    """What was found in one file."""

    height: int = 0
    """Of the upright picture [px]; 0 where it cannot be read."""
    width: int = 0
    pixels: str = ""
    """A digest of size and decoded pixels: equal for equal pictures in any file format."""
    problem: str = ""
    """`unreadable`, `cut short`, `unsupported` or `huge`; empty where the file is fine."""
    reason: str = ""
    """The problem in words."""
    warnings: tuple[tuple[str, str], ...] = ()
    """Kind (`flat`, `zeros`, `extension`) and text of what may be intended."""


def examine(path: Path) -> Examination:
    """Read and decode a file to its last byte. Raises nothing: problems are in the result."""
    try:
        data = path.read_bytes()
    except OSError as error:
        return Examination(problem="unreadable", reason=error.strerror or str(error))
    if not data:
        return Examination(problem="unreadable", reason="the file is empty")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's; what matters is raised by Pillow or reported below
        try:
            with opened(path, BytesIO(data)) as file:
                form = SAME_FORMAT.get(file.format or "", file.format or "")
                if missing := _missing_end(data, form):
                    return Examination(problem="cut short", reason=missing)
                if form == "PNG":
                    file.verify()  # checksums, which Pillow's decoding skips
            return _look(path, read_image(path, BytesIO(data)), data, form)
        except TooManyPixels as error:
            return Examination(problem="huge", reason=str(error))
        except BadImage as error:
            problem = "unsupported" if _decodes(path, data) else "unreadable"
            return Examination(problem=problem, reason=str(error).removeprefix(f"{path}: "))
        except Exception as error:  # Pillow raises nearly anything when a file is damaged
            return Examination(problem="unreadable", reason=_in_words(error, data))


def _look(path: Path, image_3HW: Tensor, data: bytes, form: str) -> Examination:
    """The examination of a readable picture."""
    _, height, width = image_3HW.shape
    digest = hashlib.blake2b(f"{height} {width} ".encode(), digest_size=16)
    digest.update(image_3HW.contiguous().numpy().data)
    found: list[tuple[str, str]] = []
    low_3, high_3 = torch.aminmax(image_3HW.flatten(1), dim=1)
    if bool((high_3 - low_3 <= FLAT).all()):
        found.append(("flat", "one colour everywhere: it contains nothing to learn from"))
    if form == "JPEG" and b"\0" * ZEROS in data[_scan(data) :]:
        found.append(("zeros", f"{ZEROS} or more zero bytes in a row, as after a lost part; look at the picture"))
    expected = Image.registered_extensions().get(path.suffix.lower(), "")
    if form != expected:
        found.append(("extension", f"a {form} named {path.suffix}; it is read nevertheless"))
    return Examination(height, width, digest.hexdigest(), warnings=tuple(found))


def _missing_end(data: bytes, form: str) -> str:
    """What is missing at the end of a file, in words; empty where it is complete or its format has no end mark."""
    if form == "PNG" and b"IEND" not in data[-(2**16) :]:
        return "the closing IEND chunk is missing; the file was not copied to its end"
    # Inside compressed data 0xff is followed by 0 or a restart marker, so this cannot be there by accident.
    if form == "JPEG" and _END not in data[_scan(data) :]:
        return "the end-of-image marker is missing; the file was not copied to its end"
    return ""


def _scan(data: bytes) -> int:
    """Offset of the compressed pixels of a JPEG, after the previews in its header, which are JPEGs themselves."""
    place = 2
    while data[place : place + 1] == bytes([_MARKER]) and data[place + 1 : place + 2] != bytes([_SCAN]):
        filler = data[place + 1 : place + 2] == bytes([_MARKER])
        place += 1 if filler else 2 + int.from_bytes(data[place + 2 : place + 4])
    return place


def _decodes(path: Path, data: bytes) -> bool:
    """Whether Pillow can decode the file."""
    try:
        with opened(path, BytesIO(data)) as file:
            file.load()
    except Exception:
        return False
    return True


def _in_words(error: Exception, data: bytes) -> str:
    """An error of Pillow in one line; a web page instead of a picture is named as such."""
    if data.lstrip()[:1] == b"<":
        return "a web page or XML, not a picture; download it again"
    if isinstance(error, UnidentifiedImageError):
        return "not a picture in a format that Pillow reads"
    return " ".join(str(error).split()) or type(error).__name__
