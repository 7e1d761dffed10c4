"""One encoded photograph: a file, or a part of a tar shard.

Knows how its bytes are read and how it is named. Knows nothing of how photographs are found (`sources.py`,
`shards.py`) or cropped (`photos.py`).

Suffixes: 3 RGB, H height, W width.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path, PurePosixPath

from torch import Tensor

from lit_pure.files.names import nfc
from lit_pure.images.io import BadImage, read_bytes


@dataclass(frozen=True)
class Photo:
    """A photograph that is read when needed; the object is small, so every worker can hold all of them."""

    name: str
    """Path below its source with "/", such as 0001000/0000001.png; a folder, a list and shards give the same name."""
    path: Path
    """The file that contains it: the picture itself, or a shard."""
    length: int
    """Encoded size [bytes]."""
    size: tuple[int, int] | None = None
    """Height and width [px] according to the header or a list; None where it is not known yet."""
    start: int | None = None
    """Offset in its shard [bytes]; None for a separate file."""
    text: tuple[int, int] | None = None
    """Offset and length of its caption in the shard [bytes]; None where the caption is missing or empty."""

    @property
    def place(self) -> Path:
        """How messages name it: the file, or the shard and the name inside it."""
        return self.path if self.start is None else self.path / self.name

    @property
    def label(self) -> str:
        """Its name as one word in NFC, without extension: 0001000_0000001."""
        return nfc(PurePosixPath(self.name).with_suffix("").as_posix().replace("/", "_"))

    def content(self) -> bytes:
        """The encoded bytes. Raises BadImage where they cannot be read."""
        return self._part(self.start or 0, self.length)

    def caption(self) -> str:
        """The caption beside it in its shard; empty where none exists. Raises BadImage where it cannot be read."""
        return " ".join(self._part(*self.text).decode("utf-8", errors="replace").split()) if self.text else ""

    def read(self) -> Tensor:
        """The pixels, uint8 `(3, H, W)`. Raises BadImage."""
        return read_bytes(self.place, BytesIO(self.content()))

    def _part(self, start: int, length: int) -> bytes:
        # The file is opened for each read: no handle is shared between processes or pickled.
        try:
            with self.path.open("rb") as file:
                file.seek(start)
                content = file.read(length)
        except FileNotFoundError as error:
            raise BadImage(f"{self.place}: no such file") from error
        except OSError as error:
            raise BadImage(f"{self.place}: {error.strerror or error}") from error
        if len(content) < length:
            raise BadImage(f"{self.place}: the file is {length - len(content)} bytes too short")
        return content


@dataclass(frozen=True)
class PhotoList:
    """The result of a search for photographs."""

    found: list[Photo]
    """Usable photographs, sorted by name."""
    skipped: list[tuple[Path, str]]
    """Paths that were left out, each with the reason."""


def fingerprint(photos: Iterable[Photo]) -> str:
    """SHA-256 of names (in NFC) and sizes in bytes, in hexadecimal: cheap, and different for another data set."""
    digest = hashlib.sha256()
    for name, length in sorted((nfc(photo.name), photo.length) for photo in photos):
        digest.update(f"{name}\0{length}\n".encode("utf-8", "surrogateescape"))  # names may be any bytes
    return digest.hexdigest()
