"""One encoded photograph, wherever its bytes are: a file of its own, or a part of a tar shard.

Knows how its bytes are read and what it is called. Knows nothing of how photographs are found (`sources.py`,
`shards.py`) or cut (`photos.py`).

Suffixes: 3 RGB, H height, W width.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path, PurePosixPath

from torch import Tensor

from lit_pure.images.io import BadImage, read_bytes


@dataclass(frozen=True)
class Photo:
    """A photograph that is read when it is needed; small, so that every worker can hold them all."""

    name: str
    """Path below its source with "/", such as 0001000/0000001.png: the same in a folder, a list and shards of it."""
    path: Path
    """The file that holds it: the picture itself, or a shard."""
    length: int
    """Encoded [bytes]."""
    size: tuple[int, int] | None = None
    """Height and width [px] as the header or a list says; None where nobody has looked yet."""
    start: int | None = None
    """Where it begins in its shard [bytes]; None is a file of its own."""
    text: tuple[int, int] | None = None
    """Where its caption begins in the shard, and how long it is [bytes]; None where there is none, or no word in it."""

    @property
    def place(self) -> Path:
        """How messages name it: the file, or the shard and the name in it."""
        return self.path if self.start is None else self.path / self.name

    @property
    def label(self) -> str:
        """Its name without extension, in one word: 0001000_0000001."""
        return PurePosixPath(self.name).with_suffix("").as_posix().replace("/", "_")

    def content(self) -> bytes:
        """The encoded bytes. Raises BadImage where they cannot be read."""
        return self._part(self.start or 0, self.length)

    def caption(self) -> str:
        """The words beside it in its shard; empty where there are none. Raises BadImage where they cannot be read."""
        return " ".join(self._part(*self.text).decode("utf-8", errors="replace").split()) if self.text else ""

    def read(self) -> Tensor:
        """The pixels, uint8 `(3, H, W)`. Raises BadImage."""
        return read_bytes(self.place, BytesIO(self.content()))

    def _part(self, start: int, length: int) -> bytes:
        # Opened anew each time, as a file of its own would be: no handle to share between processes or to pickle.
        try:
            with self.path.open("rb") as file:
                file.seek(start)
                content = file.read(length)
        except FileNotFoundError as error:
            raise BadImage(f"{self.place}: no such file") from error
        except OSError as error:
            raise BadImage(f"{self.place}: {error.strerror or error}") from error
        if len(content) < length:
            raise BadImage(f"{self.place}: the file ends {length - len(content)} bytes too soon")
        return content


@dataclass(frozen=True)
class PhotoList:
    """Photographs found."""

    found: list[Photo]
    """Those to use, sorted by name."""
    skipped: list[tuple[Path, str]]
    """Those left out, each with the reason."""


def fingerprint(photos: Iterable[Photo]) -> str:
    """SHA-256 over names and sizes in bytes, in hexadecimal: cheap, and changes when a data set is exchanged."""
    digest = hashlib.sha256()
    for photo in sorted(photos, key=lambda photo: photo.name):
        digest.update(f"{photo.name}\0{photo.length}\n".encode("utf-8", "surrogateescape"))  # names may be any bytes
    return digest.hexdigest()
