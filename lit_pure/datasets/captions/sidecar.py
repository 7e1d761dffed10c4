"""The caption file beside photographs: JSONL, an object {"image": ..., "caption": ...} per line.

Knows how to read such a file, and how to write it so that a killed writer resumes where it stopped: complete lines are
appended, and an incomplete last line is cut off at the next start. Knows nothing of pictures or of how captions are
made, and imports no torch.
"""

import codecs
import errno
import json
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lit_pure.files.atomic import write_whole
from lit_pure.files.names import nfc
from lit_pure.files.outputs import identify
from lit_pure.files.reading import BROKEN

EMPTY = ("", ".", "..", "/")
"""Neither captions nor names of files."""
_BEGINNING = b'{"image"'
"""Each line that `SidecarWriter` writes begins so."""
CONTENT = "crc32"
"""Key of a line: the CRC-32 of the photograph that was described."""
LAYOUT = 'a line must be {"image": "name.png", "caption": "text"}'


@dataclass(frozen=True)
class CaptionEntry:
    """One line of the file."""

    image: str
    """File name or stem, with its folders if any, separated by "/"."""
    caption: str
    """Words with single spaces between them; at least one."""
    other: dict[str, Any]
    """All further keys; readers ignore them."""


def read_sidecar(path: Path) -> dict[str, CaptionEntry]:
    """All lines by image, in NFC; empty lines are skipped.

    Raises:
        ValueError: a line is not UTF-8 or not such an object, or an image has two captions; names file, line and
            remedy.
        OSError: the file cannot be read.
    """
    return _entries(path, path.read_bytes())


class SidecarWriter:
    """Appends captions to a new or existing file; missing folders are made.

    Attributes:
        done: the images, in NFC, that already have a caption in the file.

    Raises:
        ValueError: a line of an existing file is malformed or has another origin; the file stays unchanged.
        OSError: the file cannot be written.
    """

    def __init__(self, path: Path, origin: Mapping[str, Any]) -> None:
        """`origin` says what makes the captions, such as {"source": "pixels"}; it is written into each line."""
        self.path, self.origin = path, dict(origin)
        try:
            new = not path.exists()
            content = b"" if new else path.read_bytes()
            whole = _complete_lines(content)
            entries = _entries(path, whole)
            for entry in entries.values():
                self._require_same_origin(entry)
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("ab") as file:  # fails now, before work can be lost, where the file cannot be written
                if len(whole) < len(content):  # otherwise another process may just have added lines
                    file.truncate(len(whole))
                file.write(whole[len(content) :])
                file.flush()
                os.fsync(file.fileno())
            if new and not path.stat().st_size:
                path.unlink()
        except OSError as error:
            reason = f"cannot be written: {error.strerror or error}; choose another file with --out"
            raise OSError(error.errno, reason, str(path)) from error
        self.done = set(entries)
        self._contents = {image: entry.other.get(CONTENT) for image, entry in entries.items()}

    def missing(self, folder: Path, names: Sequence[str]) -> list[str]:
        """The photographs (paths below the folder) without a caption, or whose caption is of an earlier content.

        Such captions are removed from the file. Raises OSError where it cannot be written.
        """
        replaced = {nfc(name) for name in names if self._is_stale(folder / name, self._contents.get(nfc(name)))}
        if replaced:
            place, lines = str(self.path), self.path.read_bytes().removeprefix(codecs.BOM_UTF8).split(b"\n")
            kept = [line for line in lines if not line.strip() or nfc(_entry(line, place).image) not in replaced]
            write_whole(self.path, b"\n".join(kept).decode("utf-8"))
            self.done -= replaced
        return [name for name in names if nfc(name) not in self.done]

    @staticmethod
    def _is_stale(path: Path, content: Any) -> bool:
        """Whether a photograph is not the described one; lines of earlier versions do not say which that was."""
        try:
            return content is not None and content != identify(path)["crc32"]
        except OSError:
            return True

    def append(self, captions: Mapping[str, str], contents: Mapping[str, str] | None = None) -> None:
        """Add a line per image (path below the folder); when this returns, the lines are on the disk.

        `contents` has a digest of each photograph, by which a later call sees that it was replaced.

        Raises:
            OSError: for example, the disk is full; earlier lines stay complete.
        """
        digests = {image: {CONTENT: digest} for image, digest in (contents or {}).items()}
        lines = [
            {"image": image, "caption": caption, **self.origin, **digests.get(image, {})}
            for image, caption in captions.items()
        ]
        text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
        # Surrogates, from file names that are not UTF-8, become JSON's escapes.
        _append(self.path, text.encode("utf-8", "backslashreplace"))
        self.done.update(map(nfc, captions))

    def put_in_order(self, names: Sequence[str]) -> None:
        """Sort the last lines, of these photographs, as they are given: several processes describe in any order.

        Lines stay where others have been added meanwhile. Raises OSError where the file cannot be written.
        """
        lines = self.path.read_bytes().splitlines(keepends=True)
        before, last = lines[: -len(names)], lines[-len(names) :]
        places = {nfc(name): number for number, name in enumerate(names)}
        found = {places.get(nfc(_entry(line, str(self.path)).image), -1): line for line in last if line.strip()}
        ordered = [found[number] for number in sorted(found)]
        if [*found] != sorted(found) and sorted(found) == [*range(len(names))]:
            write_whole(self.path, b"".join(before + ordered).decode("utf-8"))

    def _require_same_origin(self, entry: CaptionEntry) -> None:
        for key, ours in self.origin.items():
            if (theirs := entry.other.get(key)) != ours:
                raise ValueError(
                    f"{self.path}: the caption of {entry.image} has {key} {json.dumps(theirs)}, not "
                    f"{json.dumps(ours)} as now; choose another file with --out"
                )


def _complete_lines(content: bytes) -> bytes:
    """The content without the incomplete last line of a killed writer; a missing last newline is added.

    A last line that no writer of ours can have begun stays, and `_entries` refuses it.
    """
    end = content.rfind(b"\n") + 1
    last = content[end:]
    if not last:
        return content
    try:
        json.loads(last)
    except BROKEN:
        return content[:end] if last.startswith(_BEGINNING[: len(last)]) else content
    return content + b"\n"


def _append(path: Path, data: bytes) -> None:
    """Append all of the data or nothing."""
    with path.open("ab", buffering=0) as file:
        before = file.tell()
        try:
            rest = memoryview(data)
            while rest:
                rest = rest[file.write(rest) :]
            os.fsync(file.fileno())
        except OSError as error:
            with suppress(OSError):  # if this fails too, the next start cuts the incomplete line off
                file.truncate(before)
            remedy = "free some space and repeat" if error.errno in (errno.ENOSPC, errno.EDQUOT) else "repeat"
            reason = f"cannot write captions: {error.strerror}; earlier captions are complete, {remedy}"
            raise OSError(error.errno, reason, str(path)) from error


def _entries(path: Path, content: bytes) -> dict[str, CaptionEntry]:
    entries: dict[str, CaptionEntry] = {}
    for number, line in enumerate(content.removeprefix(codecs.BOM_UTF8).split(b"\n"), start=1):
        if line.strip():
            place = f"{path}, line {number}"
            entry = _entry(line, place)
            if entries.setdefault(nfc(entry.image), entry).caption != entry.caption:
                raise ValueError(f"{place}: a second caption for {entry.image}; keep one")
    return entries


def _entry(line: bytes, place: str) -> CaptionEntry:
    """One line. Raises ValueError naming the place."""
    try:
        entry = json.loads(line.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise ValueError(f"{place}: not UTF-8 ({error.reason}); save the file in that encoding") from error
    except (ValueError, RecursionError) as error:
        reason = error.msg if isinstance(error, json.JSONDecodeError) else error
        raise ValueError(f"{place}: not JSON ({reason}); {LAYOUT}") from error
    if not isinstance(entry, dict):
        raise ValueError(f"{place}: found a {type(entry).__name__}; {LAYOUT}")
    for key in ("image", "caption"):
        if not isinstance(entry.get(key), str) or entry[key].strip() in EMPTY:
            raise ValueError(f"{place}: {key!r} is {entry.get(key)!r}; {LAYOUT}")
    if Path(entry["image"]).name in EMPTY:
        raise ValueError(f"{place}: 'image' is {entry['image']!r}, a folder; {LAYOUT}")
    image, caption = Path(entry.pop("image")).as_posix(), " ".join(entry.pop("caption").split())
    try:
        caption.encode()  # JSON can hold half a character, which no tokenizer takes
    except UnicodeEncodeError as error:
        raise ValueError(f"{place}: the caption has half a surrogate pair at {error.start}; remove it") from error
    return CaptionEntry(image, caption, entry)
