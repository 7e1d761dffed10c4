"""Compares the pictures taken from a published set with its facts: counts, names, partners, headers, sizes.

Knows how to name what is missing, as exactly as the names of the set allow. Knows nothing of archives, and writes
nothing.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from lit_pure.datasets.curation.published import Part, PublishedSet
from lit_pure.images.files import images_below
from lit_pure.images.io import BadImage, image_size

NAMED = 5
"""Most names in a message."""


@dataclass
class PlacedPicture:
    """A picture that was put into the output folder."""

    origin: str
    """Where it came from, for messages."""
    size: int
    """Of the published file [bytes]."""
    whole: tuple[int, int] | None = None
    """Height and width of the published picture [px] where only its centre was taken."""


def targets_of(part: Part, placed: Mapping[str, PlacedPicture]) -> set[str]:
    """The paths of a part: those in its folder."""
    return {target for target in placed if target.startswith(f"{folder_of(part)}/")}


def check_counts(published: PublishedSet, placed: Mapping[str, PlacedPicture], source: Path) -> None:
    """Raises ValueError naming each part whose count differs from the published one, and the missing pictures."""
    wrong = [words for part in published.parts if (words := _count_error(part, placed, source))]
    if wrong:
        raise ValueError("; ".join(wrong) + "; if you knowingly have only a part of the set, give --count")


def check_pictures(
    published: PublishedSet, placed: Mapping[str, PlacedPicture], out: Path
) -> dict[str, tuple[int, int]]:
    """Height and width of each picture, by path below `out`.

    Raises:
        ValueError: a file is not a picture or not of the published size; the pictures of a pair show different views.
    """
    sizes: dict[str, tuple[int, int]] = {}
    for part in published.parts:
        for target in sorted(targets_of(part, placed)):
            sizes[target] = size_of(part, out / target, placed[target].origin)
            _require_same_view(part, target, placed)
    return sizes


def require_no_strangers(placed: Mapping[str, PlacedPicture], out: Path) -> None:
    """Raises ValueError where the folders of a set contain other pictures, which training would use as well."""
    folders = {target.split("/")[0] for target in placed}
    paths = (path for name in sorted(folders) for path in images_below(out / name))
    names = (path.relative_to(out).as_posix() for path in paths)
    if strangers := sorted(name for name in names if name not in placed):
        raise ValueError(f"{out} contains pictures that are not of this set: {_name_some(strangers)}; remove them")


def size_of(part: Part, path: Path, origin: str) -> tuple[int, int]:
    """Height and width. Raises ValueError where it is not a picture or not of the published size."""
    try:
        height, width = image_size(path)
    except BadImage as error:
        raise ValueError(f"{error} (from {origin}); fetch it again") from error
    if part.size is not None and part.size != (height, width):
        expected = f"{part.size[0]} x {part.size[1]}"
        raise ValueError(f"{path} (from {origin}): {height} x {width} px instead of {expected}")
    return height, width


def _count_error(part: Part, placed: Mapping[str, PlacedPicture], source: Path) -> str:
    """What is wrong with the number of pictures; empty where it is right."""
    found = targets_of(part, placed)
    expected = set(_numbered_paths(part)) if part.numbered else _expected_partners(part, placed)
    missing, more = sorted(expected - found), sorted(found - expected) if expected else []
    if len(found) == part.count and not missing and not more:
        return ""
    words = f"{part.title}: {len(found):,} pictures instead of {part.count:,}"
    if not found:
        return f"{words}: no file in {source} is named like {part.example}"
    words += f"; missing: {_name_some(missing)}" if missing else ""
    return words + (f"; not expected: {_name_some(more)}" if more else "")


def folder_of(part: Part) -> str:
    """The folder of its pictures, below the output folder."""
    return part.out.split("/")[0]


def _numbered_paths(part: Part) -> Iterator[str]:
    """The paths of a numbered part."""
    for n in range(part.first, part.first + part.count):
        yield part.numbered.format(n=n, up=-(-n // 1000) * 1000, down=n // 1000 * 1000)


def _partner(folder: str, target: str) -> str:
    """The path of the other picture of a pair."""
    return f"{'lq' if folder == 'hq' else 'hq'}/{target.removeprefix(f'{folder}/')}"


def _expected_partners(part: Part, placed: Mapping[str, PlacedPicture]) -> set[str]:
    """The paths that a part of pairs must have, since the other part has them."""
    own = folder_of(part)
    other = _partner(own, "").rstrip("/")
    return {_partner(other, target) for target in placed if target.startswith(f"{other}/") and own in ("hq", "lq")}


def _require_same_view(part: Part, target: str, placed: Mapping[str, PlacedPicture]) -> None:
    """Raises ValueError where centres of a pair differ: where one size is not the other one times the scale."""
    large = placed[target].whole
    other = placed.get(_partner("hq", target))
    if part.step == 1 or large is None or other is None or other.whole is None:
        return
    if large != (part.step * other.whole[0], part.step * other.whole[1]):
        sizes = f"{large[0]} x {large[1]} px is not {part.step} times {other.whole[0]} x {other.whole[1]}"
        raise ValueError(f"{placed[target].origin}: {sizes}, the size of its LR picture")


def _name_some(names: list[str]) -> str:
    shown = ", ".join(names[:NAMED])
    return shown if len(names) <= NAMED else f"{shown} and {len(names) - NAMED:,} more"
