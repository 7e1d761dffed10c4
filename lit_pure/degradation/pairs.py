"""Which pairs a paired test set has, what they are named, and which of them are done.

Knows names, numbers and the file of records; knows nothing of pixels, and imports no torch.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lit_pure.files.atomic import write_whole
from lit_pure.files.names import nfc
from lit_pure.files.outputs import identify, plan_names, require_apart
from lit_pure.files.reading import BROKEN

SIDES = ("hq", "lq")
"""The two folders of pictures; both of a pair have the same name."""
RECORDS, SETTINGS, SHEET = "degradations.jsonl", "degradation.yaml", "pairs.png"


@dataclass(frozen=True)
class PlannedPair:
    """One pair to make."""

    source: Path
    name: str
    """Of both pictures, without extension."""
    crop: int
    """Which square of the photograph."""
    index: int
    """Position among all pairs, including those that cannot be made; with the seed it decides the draws."""

    def files(self, out: Path) -> list[Path]:
        """Both pictures."""
        return [out / side / f"{self.name}.png" for side in SIDES]


def plan_pairs(photographs: Sequence[Path], crops: int, out: Path | None = None) -> list[PlannedPair]:
    """The pairs of photographs, sorted by name.

    Args:
        photographs: the files.
        crops: pairs of each.
        out: where they will be written.

    Raises:
        ValueError: the pairs of two photographs would have the same name.
    """
    paths = sorted(photographs, key=lambda path: (nfc(path.name), path))
    names = plan_names(paths, out)
    return [
        PlannedPair(path, name + (f"_c{crop}" if crops > 1 else ""), crop, position * crops + crop)
        for position, (path, name) in enumerate(zip(paths, names, strict=True))
        for crop in range(crops)
    ]


def require_sources_stay(pairs: Sequence[PlannedPair], out: Path, places: Sequence[Path]) -> None:
    """Raises OutputClash where a file that will be written is a photograph, or lies in one of the folders `places`."""
    own = [out / name for name in (RECORDS, SETTINGS, SHEET)]
    require_apart([*own, *(file for pair in pairs for file in pair.files(out))], [*places, *(p.source for p in pairs)])


def finished(out: Path, pairs: Sequence[PlannedPair]) -> dict[str, dict[str, Any]]:
    """The records of finished pairs, by name, whose photographs are what they were.

    All others are removed from the file: incomplete lines of a killed process, pairs that lack a picture, and pairs of
    a photograph that was replaced.

    Raises:
        ValueError: the records are of a different set of photographs.
    """
    records, planned = out / RECORDS, {nfc(pair.name): pair for pair in pairs}
    done: dict[str, dict[str, Any]] = {}
    for line in records.read_bytes().splitlines() if records.is_file() else []:
        try:
            record = json.loads(line)
            name = record["image"].removesuffix(".png")
            found = record["index"], nfc(record["source"])
        except BROKEN:
            continue
        pair = planned.get(nfc(name))
        if pair is None or found != (pair.index, nfc(pair.source.name)):
            raise ValueError(
                f"{records}: {record['image']} was made from a different set of photographs (number {found[0]}, "
                f"{found[1]}); choose another folder, or delete {out}"
            )
        if all((out / side / record["image"]).is_file() for side in SIDES) and _is_of(pair.source, record):
            done[pair.name] = record
    write_records(out, done)
    return done


def content_of(path: Path) -> dict[str, Any]:
    """What a record says of the photograph's content. Raises OSError."""
    content = identify(path)
    return {key: content[key] for key in ("bytes", "crc32")}


def write_records(out: Path, done: Mapping[str, dict[str, Any]]) -> None:
    """Write all lines, sorted by index, unless the file already has this content."""
    text = "".join(record_line(record) for record in sorted(done.values(), key=lambda record: int(record["index"])))
    if not (out / RECORDS).is_file() or (out / RECORDS).read_bytes() != text.encode():
        write_whole(out / RECORDS, text)


def append_line(path: Path, text: str) -> None:
    """Add a line to the records. Raises OSError with the remedy."""
    try:
        with path.open("a", encoding="utf-8", newline="\n") as file:
            file.write(text)
    except OSError as error:
        reason = f"cannot be written: {error.strerror or error}; repeat to make the remaining pairs"
        raise OSError(error.errno, reason, str(path)) from error


def record_line(record: dict[str, Any]) -> str:
    """A record as a line."""
    return json.dumps(record) + "\n"


def _is_of(source: Path, record: Mapping[str, Any]) -> bool:
    """Whether a photograph is the one of a record; records of earlier versions say nothing of its content."""
    if "crc32" not in record:
        return True
    try:
        return all(record.get(key) == value for key, value in content_of(source).items())
    except OSError:
        return False
