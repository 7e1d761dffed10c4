"""The sources of captions: the pixels, what a network sees, or a file beside the photographs.

Knows how a photograph finds its line in such a file, and that a network looks at each photograph once. Knows nothing of
tokens, of how a caption enters the sequence, or of how the file was made (`sidecar.py`, `llava.py`).

Suffixes: 3 RGB, H height, W width.
"""

import os
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

from torch import Tensor

from lit_pure.datasets.captions.describe import describe
from lit_pure.datasets.captions.sidecar import read_sidecar
from lit_pure.datasets.captions.tags import describe_tagged, network, tags
from lit_pure.files.names import nfc
from lit_pure.images.files import is_picture

COMPUTED = ("pixels", "tags")
"""Sources that look at HQ pictures."""
NONE = "none"
"""No words, for models that read none: to describe a crop takes longer than to cut it."""


class CaptionSource(Protocol):
    """A source of captions."""

    def __call__(self, path: Path, hq_3HW: Tensor, photo_3HW: Tensor) -> str:
        """The caption of a crop of a photograph (both uint8)."""

    def missing(self, names: Iterable[str]) -> list[str]:
        """The names, among these, that have no caption."""


def caption_source(captions: str) -> CaptionSource:
    """The source for `pixels` or `tags`, which look at pictures, or `none`; any other text is the path of a JSONL file.

    Raises:
        ValueError: the file is missing or malformed, or the network of `tags` is not installed.
    """
    if captions == NONE:
        return Silence()
    if captions not in COMPUTED:
        return Sidecar(Path(captions))
    return Pixels() if captions == "pixels" else Tags()


class Silence:
    """Empty captions."""

    def __call__(self, path: Path, hq_3HW: Tensor, photo_3HW: Tensor) -> str:
        return ""

    def missing(self, names: Iterable[str]) -> list[str]:
        return []


class Pixels:
    """Captions computed from the crop: every picture has one, without a download."""

    def __call__(self, path: Path, hq_3HW: Tensor, photo_3HW: Tensor) -> str:
        return describe(hq_3HW)

    def missing(self, names: Iterable[str]) -> list[str]:
        return []


class Tags:
    """Captions of what the whole photograph shows, and of the light of the crop: every picture has one.

    The network looks at each photograph when it is first cut, once in each process that loads crops. What it sees is a
    function of the photograph alone, so a resumed run, or one with other workers, has the same captions.

    Raises:
        ValueError: the network is not installed.
    """

    def __init__(self) -> None:
        network()  # fails now, not in a worker; forked workers share its weights
        self._seen: dict[Path, str] = {}

    def __call__(self, path: Path, hq_3HW: Tensor, photo_3HW: Tensor) -> str:
        if path not in self._seen:
            self._seen[path] = tags(photo_3HW)
        return describe_tagged(self._seen[path], hq_3HW)

    def missing(self, names: Iterable[str]) -> list[str]:
        return []


class Sidecar:
    """Captions from a JSONL file of {"image": path, "caption": text}; other keys are ignored.

    A photograph is found by its path below the source. The path without extension, the file name or the stem also work
    where only one line of the file matches, since sidecars are often written for other folders or another format.

    Names are compared in NFC.

    Attributes:
        captions: caption by image, in NFC.

    Raises:
        ValueError: the file cannot be read, or a line is malformed; names file, line and remedy.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            entries = read_sidecar(path)
        except OSError as error:
            reason = f"cannot read captions ({error.strerror})"
            raise ValueError(f"{path}: {reason}; write `pixels` to compute them") from error
        self.captions = {image: entry.caption for image, entry in entries.items()}
        self._by_path = _unambiguous((_without_extension(image), image) for image in self.captions)
        self._by_name = _unambiguous((_name(image), image) for image in self.captions)
        self._by_stem = _unambiguous((_without_extension(_name(image)), image) for image in self.captions)

    def __call__(self, path: Path, hq_3HW: Tensor, photo_3HW: Tensor) -> str:
        caption = self.find(path.as_posix())
        if caption is None:
            raise ValueError(f'{self.path}: no caption for {path}; add a line {{"image": ..., "caption": ...}}')
        return caption

    def missing(self, names: Iterable[str]) -> list[str]:
        """Names without a caption, or whose only line also matches other names and is not exactly theirs."""
        images = {name: self._image(name) for name in names}
        served = Counter(images.values())
        return [name for name, image in images.items() if image is None or (image != nfc(name) and served[image] > 1)]

    def find(self, name: str) -> str | None:
        """The caption of a photograph, by its path below the source; None where it has none.

        One line may match several photographs: call `missing` with all names first.
        """
        image = self._image(name)
        return None if image is None else self.captions[image]

    def _image(self, name: str) -> str | None:
        """The image of the line that matches a photograph, in NFC."""
        name = nfc(name)
        if name in self.captions:
            return name
        file = _name(name)
        return (
            self._by_path.get(_without_extension(name))
            or self._by_name.get(file)
            or self._by_stem.get(_without_extension(file))
        )


def _name(image: str) -> str:
    return image.rpartition("/")[2]


def _without_extension(image: str) -> str:
    """The name without a picture's extension; other dots belong to the name."""
    return os.path.splitext(image)[0] if is_picture(image) else image


def _unambiguous(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Image by key, without keys that several images share."""
    found: dict[str, str] = {}
    shared: set[str] = set()
    for key, image in pairs:
        if found.setdefault(key, image) != image:
            shared.add(key)
    return {key: image for key, image in found.items() if key not in shared}
