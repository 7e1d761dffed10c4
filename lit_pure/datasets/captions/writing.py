"""Writes captions for photographs batch by batch; a bad photograph is reported and skipped.

Knows what may go wrong with a photograph. Knows nothing of how captions are made (an argument) or stored
(`sidecar.py`).

Suffixes: 3 RGB, H height, W width.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from lit_pure.datasets.captions.describe import describe
from lit_pure.datasets.captions.sidecar import SidecarWriter
from lit_pure.datasets.captions.tags import describe_tagged, tags
from lit_pure.files.outputs import identify
from lit_pure.images.io import BadImage, read_bytes

LEAST_SIDE = 8
"""Least side of a photograph [px]: smaller ones show nothing to describe."""

Describer = Callable[[Sequence[Tensor]], Sequence[str]]
"""A caption for each picture, `(3, H, W)` RGB uint8 of any size; an empty one where the model gives no answer."""


@dataclass(frozen=True)
class CaptionedBatch:
    """The result of one batch."""

    files: int
    """Photographs in the batch."""
    failures: Sequence[str]
    """Why some of them have no caption; each names its file."""


def describe_pixels(pictures: Sequence[Tensor]) -> list[str]:
    """The captions of `captions: pixels`, of whole pictures."""
    return [describe(picture_3HW) for picture_3HW in pictures]


def describe_tags(pictures: Sequence[Tensor]) -> list[str]:
    """The captions of `captions: tags`, of whole pictures."""
    return [describe_tagged(tags(picture_3HW), picture_3HW) for picture_3HW in pictures]


def caption_files(
    folder: Path, names: Sequence[str], describer: Describer, writer: SidecarWriter, batch: int
) -> Iterator[CaptionedBatch]:
    """Describe `batch` photographs at once and write their captions; a yielded batch is on the disk.

    Raises:
        OSError: the captions cannot be written; finished batches stay.
        ValueError: what `describer` raises, such as too little memory.
    """
    for group in batches(names, batch):
        yield write_captions(describe_group(folder, group, describer), writer)


def batches(names: Sequence[str], batch: int) -> list[Sequence[str]]:
    """`batch` names each, the last one fewer."""
    return [names[start : start + batch] for start in range(0, len(names), batch)]


@dataclass(frozen=True)
class Described:
    """What a describer says of some photographs."""

    names: Sequence[str]
    captions: dict[str, str]
    """By name; some may be missing."""
    contents: dict[str, str]
    """A digest of each photograph with a caption."""
    failures: Sequence[str]


def describe_group(folder: Path, group: Sequence[str], describer: Describer) -> Described:
    """Describe photographs at once; nothing is written."""
    pictures: dict[str, Tensor] = {}
    contents: dict[str, str] = {}
    failures: list[str] = []
    for name in group:
        try:
            contents[name] = identify(folder / name)["crc32"]
            pictures[name] = _readable(folder / name)
        except BadImage as error:
            failures.append(str(error))
        except OSError as error:
            failures.append(f"{folder / name}: {error.strerror or error}")
    texts = describer(list(pictures.values())) if pictures else []
    captions = {name: " ".join(text.split()) for name, text in zip(pictures, texts, strict=True)}
    given = {name: caption for name, caption in captions.items() if caption}
    failures += [f"{folder / name}: the answer is empty; describe it by hand" for name in captions if name not in given]
    return Described(group, given, {name: contents[name] for name in given}, failures)


def write_captions(described: Described, writer: SidecarWriter) -> CaptionedBatch:
    """Write them; then they are on the disk. Raises OSError."""
    if described.captions:
        writer.append(described.captions, described.contents)
    return CaptionedBatch(len(described.names), described.failures)


def _readable(path: Path) -> Tensor:
    """The photograph `(3, H, W)` uint8. Raises BadImage where it cannot be read, or is too small."""
    picture_3HW = read_bytes(path).contiguous()  # sums are rounded the same way for every kind of file
    height, width = picture_3HW.shape[1:]
    if min(height, width) < LEAST_SIDE:
        raise BadImage(f"{path}: {height} x {width} px is too small; the shorter side must have {LEAST_SIDE} px")
    return picture_3HW
