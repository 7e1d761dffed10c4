"""Unpacks a published set into the layout of training and tests, and checks it against the published facts.

Knows how to resume where an earlier call ended, and the list of pictures. Knows nothing of the facts (`published.py`),
of reading archives (`archives.py`), of comparing with the facts (`tally.py`), or of whether each pixel can be read
(`check.py`).

Each picture is written under a temporary name and renamed. OUT/.prepare contains a record of each archive that was read
to its end, so that it is not read again.
"""

import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from lit_pure.datasets.curation.archives import SourceFile, archive_stem, archives_in, files_in, members_of
from lit_pure.datasets.curation.crop import crop_centre
from lit_pure.datasets.curation.published import Part, PublishedSet
from lit_pure.datasets.curation.tally import (
    PlacedPicture,
    check_counts,
    check_pictures,
    folder_of,
    require_no_strangers,
    size_of,
    targets_of,
)
from lit_pure.files.atomic import partial_path, write_json, write_whole
from lit_pure.files.reading import BROKEN, of_kind

RECORDS = ".prepare"
"""Folder of records in the output folder; hidden, so that it is never mistaken for data."""
UNFINISHED = ".prepare.tmp"
"""Suffix of a file while this command writes it."""
MARGIN = 2**28
"""Bytes to leave free on the disk."""


def with_counts(published: PublishedSet, counts: list[int]) -> PublishedSet:
    """The set with other counts: one for all parts, or one for each. Raises ValueError."""
    if len(counts) not in (1, len(published.parts)):
        titles = ", ".join(part.title for part in published.parts)
        raise ValueError(f"{len(counts)} counts for {len(published.parts)} parts ({titles}); give one for each")
    counts = counts * len(published.parts) if len(counts) == 1 else counts
    parts = zip(published.parts, counts, strict=True)
    return replace(
        published,
        parts=tuple(replace(part, count=count, numbered="", all_archives=False) for part, count in parts),
    )


class Preparation:
    """Takes one set from a folder of archives to a folder of pictures.

    Args:
        published: the facts about the set.
        source: folder with the archives, or their unpacked folders; or one archive.
        out: folder to write to.
        limit: take only this many pictures of each part, to try; counts are not checked then.
        dry_run: write nothing.
        progress: called with each picture's path below `out`.

    Attributes:
        placed: pictures by path below `out`.

    Raises:
        ValueError: one of source and out contains the other, or the source is missing.
    """

    def __init__(
        self,
        published: PublishedSet,
        source: Path,
        out: Path,
        *,
        limit: int | None = None,
        dry_run: bool = False,
        progress: Callable[[str], object] = lambda target: None,
    ) -> None:
        if not source.exists():
            raise ValueError(f"{source}: no such folder; name the one with the archives")
        ways = source.resolve(), out.resolve()
        if ways[0].is_relative_to(ways[1]) or ways[1].is_relative_to(ways[0]):
            raise ValueError(f"{out} and {source}: one contains the other; write to a separate folder")
        self.published, self.source, self.out = published, source, out
        self.limit, self.dry_run, self.progress = limit, dry_run, progress
        self.placed: dict[str, PlacedPicture] = {}
        self._taken = dict.fromkeys(published.parts, 0)

    def run(self) -> None:
        """Unpack what is missing, check everything, write the list.

        Raises:
            ValueError: an archive is missing or damaged, or the pictures differ from the published ones; unpacked
                pictures stay, and another call resumes from there.
            OSError: the folder cannot be written.
        """
        archives = self._archives()
        if not self.dry_run:
            self.out.mkdir(parents=True, exist_ok=True)
            self._require_space(archives)
            for unfinished in self._leftovers():
                unfinished.unlink(missing_ok=True)
        for member in files_in(self.source):
            self._take(member)
        for archive in archives:
            self._unpack(archive)
        if self.limit is None:
            check_counts(self.published, self.placed, self.source)
        if not self.dry_run:
            sizes = check_pictures(self.published, self.placed, self.out)
            if self.limit is None:
                require_no_strangers(self.placed, self.out)
            if self.published.meta_info and (self.limit is None or _list_length(self.out) < len(sizes)):
                _write_list(self.out, sizes)

    def number(self, part: Part) -> int:
        """Number of pictures of a part."""
        return len(targets_of(part, self.placed))

    def _leftovers(self) -> Iterator[Path]:
        """Leftovers of a killed call of this command; other commands may be writing into the same folder."""
        for part in self.published.parts:
            yield from (self.out / folder_of(part)).rglob(f".*{UNFINISHED}")
        yield from self.out.glob(".meta_info.txt.*.tmp")

    def _archives(self) -> list[Path]:
        """The archives to open. Raises ValueError where one is missing."""
        found = [path for path in archives_in(self.source) if self._is_wanted(path)]
        present = {archive_stem(path.name).lower() for path in found}
        folders = {path.name.lower() for path in self.source.rglob("*") if path.is_dir()} if found else set()
        for part in self.published.parts if self.limit is None else ():
            missing = sorted(set(part.archives) - present - folders)
            if part.all_archives and missing and present & set(part.archives):
                names = ", ".join(missing)
                raise ValueError(
                    f"{part.title}: {self.source} has no {names} (.tar.gz, .tar, .zip, or a folder of this name); "
                    "add it, or give --count for a part of the set"
                )
        return found

    def _is_wanted(self, archive: Path) -> bool:
        name = archive_stem(archive.name).lower()
        patterns = [pattern for part in self.published.parts for pattern in part.archives]
        return archive == self.source or any(fnmatch(name, pattern) for pattern in patterns)

    def _require_space(self, archives: list[Path]) -> None:
        """Raises ValueError where the disk lacks space for what is not unpacked yet."""
        total = sum(self._unpacked_bytes(archive) for archive in archives if self.limit is None)
        needed = total - sum(path.stat().st_size for path in self.out.rglob("*") if path.is_file())
        free = shutil.disk_usage(self.out).free
        if needed > free - MARGIN:
            raise ValueError(
                f"{self.out}: {needed / 1e9:.1f} GB are needed and {free / 1e9:.1f} GB are free; free some space, "
                "or write to another disk"
            )

    def _unpacked_bytes(self, archive: Path) -> int:
        """Exact for a zip, which has a list; for others the archive's own size, since PNGs hardly compress further."""
        if archive.suffix.lower() != ".zip":
            return archive.stat().st_size
        return sum(member.size for member in members_of(archive, self.source) if self._part_and_target(member))

    def _part_and_target(self, member: SourceFile) -> tuple[Part, str] | None:
        """The part and the path below the output folder; None where the file does not belong to the set."""
        for part in self.published.parts:
            if match := re.fullmatch(part.where, member.path):
                return part, match.expand(part.out)
        return None

    def _unpack(self, archive: Path) -> None:
        """Take the pictures of an archive, or those that its record lists."""
        record = self.out / RECORDS / f"{'_'.join(archive.relative_to(self.source.parent).parts)}.json"
        identity = [archive.stat().st_size, archive.stat().st_mtime_ns]
        if (known := self._read_record(record, identity, archive)) is not None:
            for target, placed in known.items():
                if self._remember(target, placed):
                    self.progress(target)
            return
        targets: list[str] = []  # also those that are unpacked beside the archive now, and may be gone next time
        for member in members_of(archive, self.source):
            if target := self._take(member):
                targets.append(target)
            if self.limit is not None and min(self._taken.values()) >= self.limit:
                return
        if not self.dry_run and self.limit is None:
            record.parent.mkdir(exist_ok=True)
            pictures = {target: self._row(target) for target in targets}
            write_json(record, {"archive": identity, "holds": pictures})

    def _row(self, target: str) -> list[Any]:
        """The record of a picture: bytes here, bytes as published, height and width before cropping."""
        placed = self.placed[target]
        return [(self.out / target).stat().st_size, placed.size, placed.whole]

    def _read_record(self, record: Path, identity: list[int], archive: Path) -> dict[str, PlacedPicture] | None:
        """The pictures that an earlier call took of this very archive; None where it did not end or files are gone."""
        known: dict[str, PlacedPicture] = {}
        try:
            content: dict[str, Any] = json.loads(record.read_text(encoding="utf-8"))
            if content["archive"] != identity:
                return None
            for target, (here, size, whole) in content["holds"].items():
                if (self.out / target).stat().st_size != here:
                    return None
                sides = whole and (of_kind(whole[0], int), of_kind(whole[1], int))
                known[target] = PlacedPicture(str(archive), of_kind(size, int), sides or None)
        except BROKEN:
            return None
        return known

    def _take(self, member: SourceFile) -> str:
        """Put a file where it belongs; returns its path below the output folder, empty where it is not wanted."""
        belongs = self._part_and_target(member)
        if belongs is None or (self.limit is not None and self._taken[belongs[0]] >= self.limit):
            return ""
        part, target = belongs
        if member.link:
            raise ValueError(f"{member.origin} is a link, not a picture; the archive is not the published one")
        if self._remember(target, PlacedPicture(member.origin, member.size)):
            self._taken[part] += 1
            if not self.dry_run:
                self._place(part, member, target)
            self.progress(target)
        return target

    def _remember(self, target: str, placed: PlacedPicture) -> bool:
        """Whether the picture is new; the same one twice (unpacked and packed) is harmless. Raises ValueError."""
        first = self.placed.setdefault(target, placed)
        if first.size != placed.size:
            raise ValueError(f"{first.origin} and {placed.origin} are different pictures with one name; remove one")
        return first is placed

    def _place(self, part: Part, member: SourceFile, target: str) -> None:
        """Write one picture, completely or not at all; existing ones stay. A file on the same disk is hard-linked."""
        path, content = self.out / target, b""
        if part.crop:
            content, self.placed[target].whole = crop_centre(part, member)
        elif path.is_file() and path.stat().st_size == member.size:
            return
        elif member.file is None:
            content = member.read()
        unfinished = partial_path(path, UNFINISHED)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if member.file is None or part.crop:
                unfinished.write_bytes(content)
            else:
                _link(member.file, unfinished)
            unfinished.replace(path)
        except OSError as error:
            reason = f"cannot be written: {error.strerror or error}; unpacked pictures stay, repeat to resume"
            raise OSError(error.errno, reason, str(path)) from error
        finally:
            unfinished.unlink(missing_ok=True)
        size_of(part, path, member.origin)  # refuses a wrong set at its first picture instead of its last


def _write_list(out: Path, sizes: dict[str, tuple[int, int]]) -> None:
    """BasicSR's meta_info of all pictures."""
    lines = (f"{target} ({height},{width},3)\n" for target, (height, width) in sorted(sizes.items()))
    write_whole(out / "meta_info.txt", "".join(lines))


def _list_length(out: Path) -> int:
    """Number of pictures in the existing list: a try must not shorten the list of the whole set."""
    path = out / "meta_info.txt"
    return len(path.read_bytes().splitlines()) if path.is_file() else 0


def _link(source: Path, target: Path) -> None:
    """Hard-link a file, which takes no space; copy it where the disks differ or links are not supported."""
    target.unlink(missing_ok=True)
    try:
        os.link(source.resolve(), target)  # resolved: a relative symbolic link would break in another folder
    except OSError:
        shutil.copyfile(source, target)
