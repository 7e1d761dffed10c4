"""Remembers on the disk which squares of a photograph are drawn, so that a killed restoration goes on where it was.

Knows a file that grows by one record for each batch, and a restorer that looks there before it draws. Pixels are not
kept: they follow from the codes, in a small part of the time. Knows nothing of when a photograph is done.

Shape legend: B pictures, s side of the model's square [px], h w cells.
"""

import io
import json
import struct
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lit_pure.config.experiment import ColorFix
from lit_pure.restoring.contract import (
    CellMap,
    Clock,
    CodeRestorer,
    CodeSquare,
    Progress,
    Restoration,
)
from lit_pure.restoring.rendering import fix_squares
from lit_pure.restoring.wrapped import WrappedCodes

HEAD = struct.Struct("<QI")
"""Of a record: how many bytes follow, and their CRC-32."""


class Journal:
    """The squares of one photograph that are drawn, by name; each batch is there as a whole, or not at all."""

    def __init__(self, path: Path, made: Mapping[str, Any]) -> None:
        """
        Args:
            path: of the file, in an existing folder; without one, nothing is drawn yet.
            made: what the squares depend on; what was drawn of something else is forgotten.

        Raises:
            OSError: the file cannot be read.
        """
        self.path = path
        self.squares: dict[str, CodeSquare] = {}
        self._about = json.dumps(made, sort_keys=True).encode()
        records, self._length = _read(path) if path.exists() else ([], 0)
        if records[:1] != [self._about]:
            self._length = 0
            return
        try:
            for record in records[1:]:
                self.squares |= _unpacked(record)
        except Exception:  # whole, but of another version
            self.squares, self._length = {}, 0

    def add(self, squares: Mapping[str, CodeSquare]) -> None:
        """Put down a batch. Raises OSError where there is no room."""
        self.squares |= squares
        with self.path.open("r+b" if self._length else "wb") as file:
            file.seek(self._length)
            file.truncate()  # what a killed process left half written
            if not self._length:
                file.write(_record(self._about))
            file.write(_record(_packed(squares)))
            self._length = file.tell()

    def remove(self) -> None:
        """The photograph is restored."""
        self.path.unlink(missing_ok=True)


class Remembering(WrappedCodes):
    """A restorer that draws only what its journal lacks, and puts down what it draws."""

    def __init__(self, restorer: CodeRestorer, journal: Journal) -> None:
        super().__init__(restorer)
        self.journal = journal

    def draw_codes(
        self,
        enlarged_B3ss: Tensor,
        names: Sequence[str],
        known_Bhw: Tensor,
        *,
        given: Sequence[Any] | None = None,
        progress: Progress | None = None,
    ) -> list[CodeSquare]:
        """As the contract says."""
        rows = [row for row, name in enumerate(names) if name not in self.journal.squares]
        if rows:
            missing = [names[row] for row in rows]
            told = [given[row] for row in rows] if given else None
            drawn = self.restorer.draw_codes(
                enlarged_B3ss[rows], missing, known_Bhw[rows], given=told, progress=progress
            )
            self.journal.add(dict(zip(missing, drawn, strict=True)))
        return [self.journal.squares[name] for name in names]

    def restore_squares(
        self,
        enlarged_B3ss: Tensor,
        names: Sequence[str],
        *,
        color_fix: ColorFix,
        shown: tuple[int, int] | None = None,
        given: Sequence[Any] | None = None,
        progress: Progress | None = None,
        clock: Clock | None = None,
    ) -> list[Restoration]:
        """As the contract says, but for `clock`, which is not called."""
        side = self.size // self.cell
        nothing_Bhw = torch.full((len(names), side, side), -1)
        squares = self.draw_codes(enlarged_B3ss, names, nothing_Bhw, given=given, progress=progress)
        codes_Bhw = torch.stack([square.codes_hw.to(enlarged_B3ss.device) for square in squares])
        height, width = shown or (self.size, self.size)
        made_B3ss = self.render_codes(codes_Bhw, enlarged_B3ss)
        fixed_B3ll = fix_squares(made_B3ss, enlarged_B3ss, (height, width), color_fix, self.restoring)
        cells = -(-height // self.cell), -(-width // self.cell)
        return [
            Restoration(image_3ll, square.seconds, square.words, _shown_maps(square.maps, *cells), square.tokens)
            for image_3ll, square in zip(fixed_B3ll, squares, strict=True)
        ]


def _shown_maps(maps: Mapping[str, CellMap], height: int, width: int) -> dict[str, CellMap]:
    """The upper left parts."""
    return {
        name: CellMap(one.values_hw[:height, :width], one.unit, one.cell, one.highest) for name, one in maps.items()
    }


def _read(path: Path) -> tuple[list[bytes], int]:
    """All whole records from the beginning, and how many bytes these are."""
    content, records, at = path.read_bytes(), list[bytes](), 0
    while at + HEAD.size <= len(content):
        length, crc = HEAD.unpack_from(content, at)
        record = content[at + HEAD.size : at + HEAD.size + length]
        if len(record) < length or zlib.crc32(record) != crc:
            break
        records.append(record)
        at += HEAD.size + length
    return records, at


def _record(content: bytes) -> bytes:
    return HEAD.pack(len(content), zlib.crc32(content)) + content


def _packed(squares: Mapping[str, CodeSquare]) -> bytes:
    """A batch as bytes that `torch.load` reads without running code."""
    plain = {
        name: {
            "codes_hw": square.codes_hw.cpu().clone(),
            "seconds": square.seconds,
            "words": dict(square.words),
            "maps": {key: vars(one) | {"values_hw": one.values_hw.cpu().clone()} for key, one in square.maps.items()},
            "tokens": square.tokens,
        }
        for name, square in squares.items()
    }
    buffer = io.BytesIO()
    torch.save(plain, buffer)
    return buffer.getvalue()


def _unpacked(content: bytes) -> dict[str, CodeSquare]:
    plain: dict[str, dict[str, Any]] = torch.load(io.BytesIO(content), weights_only=True)
    return {
        name: CodeSquare(**square | {"maps": {key: CellMap(**one) for key, one in square["maps"].items()}})
        for name, square in plain.items()
    }
