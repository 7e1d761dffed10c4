"""Restores photographs from files to files, one after the other; a bad file is reported and the others continue.

Knows file names, what is written beside each picture, and which photographs are restored already. Any `PhotoRestorer`
does the restoring itself.
"""

import json
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from lit_pure.config.data import LEAST_LQ_SIDE
from lit_pure.files.atomic import require_writable, write_json
from lit_pure.images.io import BadImage, read_image, to_bytes, write_png
from lit_pure.images.maps import dark_map, large_legend
from lit_pure.restoring.contract import CellMap, TileWords
from lit_pure.restoring.photo import PhotoProgress, PhotoRestorer, RestoredPhoto


@dataclass(frozen=True)
class RestoredFile:
    """The result for one file: the picture and its words, or the reason why there is none."""

    source: Path
    picture: Path | None = None
    note: str = ""
    """Degradation sentence and caption, or the error."""
    skipped: bool = False
    """Whether the picture existed already."""


def restore_files(
    restorer: PhotoRestorer,
    paths: Sequence[Path],
    out: Path,
    progress: Callable[[Path], PhotoProgress],
    *,
    scale: int | None = None,
    origin: str = "",
    again: bool = False,
) -> Iterator[RestoredFile]:
    """Restore each file to `out`: NAME.png, NAME.json, and NAME_MAP.png for each map with a fixed scale (entropy).

    A picture that was restored from the same file with the same settings is left as it is.

    Args:
        restorer: restores the photographs.
        paths: the photographs.
        out: the folder to write to; created if missing.
        progress: called when a file begins; returns the progress that its tokens are reported to.
        scale: factor by which each side is enlarged; None: the restorer's own.
        origin: name of the restorer's weights; pictures of other weights are restored again.
        again: whether to restore again what is restored already.

    Raises:
        OSError: `out` cannot be written to; finished pictures stay.
    """
    require_writable(out)
    scale = restorer.scale if scale is None else scale
    stems = Counter(path.stem for path in paths)
    for path in paths:
        # Two files that differ in their extension alone keep it, so that none overwrites the other.
        name = path.stem if stems[path.stem] == 1 else path.name
        picture = out / f"{name}.png"
        try:
            made = {"source": _describe_source(path), "with": _describe_settings(restorer, scale, origin)}
            if not again and picture.is_file() and _read_record(out, name) == made:
                yield RestoredFile(
                    path, picture, "already restored (same file, same settings; --again repeats it)", True
                )
                continue
            note = _write(
                restorer.restore_photo(_read_photo(path), path.name, scale, progress=progress(path)), out, name, made
            )
        except BadImage as error:
            yield RestoredFile(path, note=str(error))
        except (MemoryError, torch.OutOfMemoryError):
            remedy = "a smaller --scale or --batch needs less"
            yield RestoredFile(path, note=f"{path}: not enough memory to enlarge it {scale} times; {remedy}")
        else:
            yield RestoredFile(path, picture, note)


def _read_photo(path: Path) -> torch.Tensor:
    """The photograph (3, H, W). Raises BadImage if the file is not a photograph, or too small."""
    photo_3HW = read_image(path)
    height, width = photo_3HW.shape[-2:]
    if min(height, width) < LEAST_LQ_SIDE:
        raise BadImage(f"{path}: {height} x {width} px is too small; the shorter side must have {LEAST_LQ_SIDE} px")
    return photo_3HW


def _describe_source(path: Path) -> dict[str, Any]:
    """What identifies a file: its name, which decides the noise, and its content. Raises BadImage."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise BadImage(f"{path}: {error.strerror or error}") from error
    return {"file": path.name, "bytes": len(content), "crc32": f"{zlib.crc32(content):08x}"}


def _describe_settings(restorer: PhotoRestorer, scale: int, origin: str) -> dict[str, Any]:
    """Everything that a picture depends on besides its source."""
    return {"run": origin, "scale": scale, **restorer.settings()}


def _read_record(out: Path, name: str) -> Any:
    """The source and settings of an earlier picture; None if there is no readable record."""
    try:
        return json.loads((out / f"{name}.json").read_text(encoding="utf-8"))["made"]
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _write(restored: RestoredPhoto, out: Path, name: str, made: dict[str, Any]) -> str:
    """Write the pictures, then the JSON, so that its presence means that all are complete. Returns the text."""
    (out / f"{name}.json").unlink(missing_ok=True)
    write_png(out / f"{name}.png", restored.pixels_3HW)
    height, width = restored.pixels_3HW.shape[-2:]
    restored = replace(
        restored, pixels_3HW=restored.pixels_3HW.new_empty(3, 0, 0)
    )  # never two large pictures in memory
    scaled = {key: cells for key, cells in restored.maps.items() if cells.highest is not None}
    for key, cells in scaled.items():
        write_png(out / f"{name}_{key}.png", _map_picture(cells, height, width))
    content = {
        **restored.words,
        **{f"mean_{key}_{cells.unit}": float(cells.values_hw.mean()) for key, cells in scaled.items()},
        "tokens": restored.tokens,
        "tokens_per_second": round(restored.tokens / restored.seconds, 1) if restored.tokens else 0.0,
        "made": made,
        "tiles": [_tile_content(tile) for tile in restored.tiles],
    }
    write_json(out / f"{name}.json", content)
    return restored.words.get("text") or ""


def _tile_content(tile: TileWords) -> dict[str, Any]:
    """The position of a tile, and its words."""
    return {"top": tile.top, "left": tile.left, "height": tile.height, "width": tile.width, **tile.words}


def _map_picture(cells: CellMap, height: int, width: int) -> torch.Tensor:
    """uint8 (3, height, width and the legend), dark where values are high; in the memory layout that PNG wants."""
    assert cells.highest is not None
    small_hw3 = to_bytes(dark_map(cells.values_hw, 0.0, cells.highest)).permute(1, 2, 0)
    legend_HW3 = large_legend(0.0, cells.highest, cells.unit, height).permute(1, 2, 0)
    picture_HW3 = torch.empty(height, width + legend_HW3.shape[1], 3, dtype=torch.uint8)
    picture_HW3[:, width:] = legend_HW3
    rows, columns = torch.arange(height) // cells.cell, torch.arange(width) // cells.cell
    # Enlarged in place, as bytes: a large photograph's map is not held twice.
    torch.index_select(small_hw3.cpu()[rows], 1, columns, out=picture_HW3[:, :width])
    return picture_HW3.permute(2, 0, 1)
