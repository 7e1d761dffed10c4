"""Where captions come from: computed from the pixels, or read from a file beside the photographs.

Knows nothing of tokens, of how a caption enters the sequence, or of how the file was made (`sidecar.py`, `llava.py`).

Suffixes: 3 RGB, H height, W width.
"""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

from torch import Tensor

from lit_pure.captions.describe import describe
from lit_pure.captions.sidecar import read_sidecar


class CaptionSource(Protocol):
    """Where captions come from."""

    def __call__(self, path: Path, hq_3HW: Tensor) -> str:
        """The caption of a crop (uint8) of a photograph."""

    def missing(self, names: Iterable[str]) -> list[str]:
        """Those of these file names that have no caption."""


def caption_source(captions: str) -> CaptionSource:
    """`pixels` describes the crop itself; anything else is the path of a JSONL file.

    Raises:
        ValueError: the file is absent or malformed.
    """
    return Pixels() if captions == "pixels" else Sidecar(Path(captions))


class Pixels:
    """Captions computed from the crop: there is one for every picture, and it needs no download."""

    def __call__(self, path: Path, hq_3HW: Tensor) -> str:
        return describe(hq_3HW)

    def missing(self, names: Iterable[str]) -> list[str]:
        return []


class Sidecar:
    """Captions from a JSONL file of {"image": path, "caption": text}; other keys are ignored.

    A photograph is found by its path below the source. File name or stem suffice where they are one caption's in the
    file, since sidecars are often written for other folders or another format.

    Attributes:
        captions: caption by image, as the file has them.

    Raises:
        ValueError: the file cannot be read, or a line is not such an object; names file, line and remedy.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            entries = read_sidecar(path)
        except OSError as error:
            reason = f"cannot read captions ({error.strerror})"
            raise ValueError(f"{path}: {reason}; write `pixels` to compute them") from error
        self.captions = {image: entry.caption for image, entry in entries.items()}
        paths = [(Path(image), caption) for image, caption in self.captions.items()]
        self._by_name = _unambiguous((path.name, caption) for path, caption in paths)
        # An image may stand there without its extension already.
        self._by_trunk = _unambiguous(
            (key, caption) for path, caption in paths for key in (path.as_posix(), path.with_suffix("").as_posix())
        )
        self._by_stem = _unambiguous((key, caption) for path, caption in paths for key in (path.name, path.stem))

    def __call__(self, path: Path, hq_3HW: Tensor) -> str:
        caption = self.find(path.as_posix())
        if caption is None:
            raise ValueError(f'{self.path}: no caption for {path}; add a line {{"image": ..., "caption": ...}}')
        return caption

    def missing(self, names: Iterable[str]) -> list[str]:
        """Those without a caption, or with one by a file name that several of them share."""
        asked = list(names)
        alike = Counter(Path(name).name for name in asked)
        return [
            name
            for name in asked
            if self.find(name) is None or (self._exact(name) is None and alike[Path(name).name] > 1)
        ]

    def find(self, name: str) -> str | None:
        """The caption of a photograph, by its path below the source; None where there is none."""
        return self._exact(name) or self._by_name.get(Path(name).name) or self._by_stem.get(Path(name).stem)

    def _exact(self, name: str) -> str | None:
        """By the whole path, with its extension or without."""
        return self.captions.get(name) or self._by_trunk.get(Path(name).with_suffix("").as_posix())


def _unambiguous(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Without the keys that have different captions."""
    found: dict[str, str] = {}
    torn: set[str] = set()
    for key, caption in pairs:
        if found.setdefault(key, caption) != caption:
            torn.add(key)
    return {key: caption for key, caption in found.items() if key not in torn}
