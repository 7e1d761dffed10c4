"""Restores photographs from files to files, one after the other; a bad file is reported and the others continue.

Knows file names, what is written beside each picture, and which photographs are restored already. Any `PhotoRestorer`
does the restoring itself.
"""

import os
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from lit_pure.config.data import LEAST_LQ_SIDE
from lit_pure.files.atomic import require_writable, write_json
from lit_pure.files.outputs import ends_all, identify, require_nameable
from lit_pure.images.files import MARK, RECORD
from lit_pure.images.geometry import resize
from lit_pure.images.io import BadImage, read_image, to_bytes, write_png
from lit_pure.images.large import empty_picture
from lit_pure.images.maps import dark_map, large_legend
from lit_pure.restoring.contract import CellMap, TileWords
from lit_pure.restoring.journal import Journal
from lit_pure.restoring.outputs import files_of, made_from, plan_restorations, read_record
from lit_pure.restoring.photo import PhotoProgress, PhotoRestorer, RestoredPhoto

UNFINISHED = ".unfinished"
"""Below the folder that is written to: what is drawn of pictures whose restoration was stopped."""


@dataclass(frozen=True)
class RestoredFile:
    """The result for one file: the picture and its words, or the reason why there is none."""

    source: Path
    picture: Path | None = None
    note: str = ""
    """Degradation sentence and caption, or the error."""
    skipped: bool = False
    """Whether the picture existed already."""


@dataclass(frozen=True)
class Making:
    """What all files have in common; see `restore_files`."""

    out: Path
    scale: int
    origin: str = ""
    again: bool = False
    max_size: int | None = None


def restore_files(
    restorer: PhotoRestorer,
    paths: Sequence[Path],
    out: Path,
    progress: Callable[[Path], PhotoProgress],
    *,
    scale: int | None = None,
    origin: str = "",
    again: bool = False,
    replaces: bool = False,
    max_size: int | None = None,
) -> Iterator[RestoredFile]:
    """Restore each file to `out`: NAME.png, NAME.json, and NAME_MAP.png for each map with a fixed scale (entropy).

    A picture that was restored from the same file with the same settings is left as it is; of one that was stopped,
    what was drawn is not drawn again.

    Args:
        restorer: restores the photographs.
        paths: the photographs.
        out: the folder to write to; created if missing.
        progress: called when a file begins; returns the progress that its tokens are reported to.
        scale: factor by which each side is enlarged; None: the restorer's own.
        origin: name of the restorer's weights; pictures of other weights are restored again.
        again: whether to restore again what is restored already.
        replaces: whether to replace pictures of other photographs, which `again` does, too.
        max_size: a photograph whose result would be longer [px] is made smaller first; None: none is.

    Raises:
        OutputClash: as `plan_restorations` does; nothing is restored.
        OSError: `out` cannot be written to; finished pictures stay. One photograph whose files cannot be written, for
            example because its name is too long, raises nothing: see `RestoredFile.note`.
    """
    names = plan_restorations(paths, out, again=again or replaces)
    require_writable(out)
    how = Making(out, restorer.scale if scale is None else scale, origin, again, max_size)
    for path, name in zip(paths, names, strict=True):
        yield restore_file(restorer, path, name, how, progress)
    remove_unfinished(out)


def restore_file(
    restorer: PhotoRestorer, path: Path, name: str, how: Making, progress: Callable[[Path], PhotoProgress | None]
) -> RestoredFile:
    """Restore one file, unless it is restored already; `name` is that of its picture, without extension.

    Raises OSError where nothing can be written to the folder.
    """
    out, scale = how.out, how.scale
    picture = out / f"{name}.png"
    try:
        made = {"source": _describe_source(path), "with": _describe_settings(restorer, how)}
        if not how.again and picture.is_file() and _without_place(read_record(out, name)) == made:
            return RestoredFile(path, picture, "already restored (same file, same settings; --again repeats it)", True)
        require_nameable(files_of(out, name)[-1])
        return RestoredFile(path, picture, _restore(restorer, path, how, progress(path), name, made))
    except BadImage as error:
        return RestoredFile(path, note=str(error))
    except (MemoryError, torch.OutOfMemoryError):
        remedy = "a smaller --scale or --batch needs less"
        return RestoredFile(path, note=f"{path}: not enough memory to enlarge it {scale} times; {remedy}")
    except OSError as error:
        if ends_all(error, out):
            raise
        return RestoredFile(path, note=f"{path}: cannot be written to {out} ({error.strerror or error}); rename it")


def remove_unfinished(out: Path) -> None:
    """Remove the folder of what is unfinished, if nothing is. No process may restore to `out` meanwhile."""
    with suppress(OSError):
        (out / UNFINISHED).rmdir()


@contextmanager
def _journal(out: Path, name: str, made: dict[str, Any]) -> Iterator[Journal]:
    """What is drawn of a picture so far; it goes once the picture is written."""
    folder = out / UNFINISHED
    folder.mkdir(exist_ok=True)
    journal = Journal(folder / f"{zlib.crc32(os.fsencode(name)):08x}", made)
    yield journal
    journal.remove()


def _restore(
    restorer: PhotoRestorer, path: Path, how: Making, progress: PhotoProgress | None, name: str, made: dict[str, Any]
) -> str:
    """Restore one photograph and write what is made of it; returns the text."""
    out, scale = how.out, how.scale
    photo_3HW = _read_photo(path, how.max_size // scale if how.max_size else None)
    with _journal(out, name, made) as journal:
        return _write(  # which alone has the picture, and lets go of it
            restorer.restore_photo(photo_3HW, path.name, scale, progress=progress, journal=journal),
            out,
            name,
            made | {"from": made_from(path, out)},
        )


def _read_photo(path: Path, longest: int | None = None) -> torch.Tensor:
    """The photograph (3, H, W), made smaller where its longer side has more than `longest` px.

    Raises BadImage if the file is not a photograph, or too small.
    """
    photo_3HW = read_image(path)
    height, width = photo_3HW.shape[-2:]
    if longest and max(height, width) > longest:
        height, width = (max(1, round(side * longest / max(photo_3HW.shape))) for side in (height, width))
        photo_3HW = resize(photo_3HW[None], height, width)[0].clamp(0, 1)
    if min(height, width) < LEAST_LQ_SIDE:
        raise BadImage(f"{path}: {height} x {width} px is too small; the shorter side must have {LEAST_LQ_SIDE} px")
    return photo_3HW


def _describe_source(path: Path) -> dict[str, Any]:
    """What identifies a file: its name, which decides the noise, and its content. Raises BadImage."""
    try:
        return identify(path)
    except OSError as error:
        raise BadImage(f"{path}: {error.strerror or error}") from error


def _describe_settings(restorer: PhotoRestorer, how: Making) -> dict[str, Any]:
    """Everything that a picture depends on besides its source."""
    limit = {"max_size": how.max_size} if how.max_size else {}
    return {"run": how.origin, "scale": how.scale, **limit, **restorer.settings()}


def _without_place(record: dict[str, Any]) -> Any:
    """What an earlier picture was made of and with, wherever its photograph was; None without a usable record."""
    made = record.get("made")
    return {key: value for key, value in made.items() if key != "from"} if isinstance(made, dict) else None


def _write(restored: RestoredPhoto, out: Path, name: str, made: dict[str, Any]) -> str:
    """Write the pictures, then the whole record, so that its words mean that all are complete. Returns the text.

    Until then a record says whose the pictures are, so that a repeated call replaces those of a killed one.
    """
    write_json(out / f"{name}{RECORD}", {"made": {"from": made["from"]}})
    write_png(out / f"{name}.png", restored.pixels_3HW)
    height, width = restored.pixels_3HW.shape[-2:]
    restored = replace(
        restored, pixels_3HW=restored.pixels_3HW.new_empty(3, 0, 0)
    )  # never two large pictures in memory
    scaled = {key: cells for key, cells in restored.maps.items() if cells.highest is not None}
    for key, cells in scaled.items():
        write_png(out / f"{name}_{key}.png", map_picture(cells, height, width), MARK)
    content = {
        **restored.words,
        **{f"mean_{key}_{cells.unit}": float(cells.values_hw.mean()) for key, cells in scaled.items()},
        "tokens": restored.tokens,
        "tokens_per_second": round(restored.tokens / restored.seconds, 1) if restored.tokens else 0.0,
        "made": made,
        "tiles": [_tile_content(tile) for tile in restored.tiles],
    }
    write_json(out / f"{name}{RECORD}", content)
    return restored.words.get("text") or ""


def _tile_content(tile: TileWords) -> dict[str, Any]:
    """The position of a tile, and its words."""
    return {"top": tile.top, "left": tile.left, "height": tile.height, "width": tile.width, **tile.words}


def map_picture(cells: CellMap, height: int, width: int) -> torch.Tensor:
    """uint8 (3, height, width and the legend), dark where values are high; in the memory layout that PNG wants."""
    assert cells.highest is not None
    small_hw3 = to_bytes(dark_map(cells.values_hw, 0.0, cells.highest)).permute(1, 2, 0)
    legend_HW3 = large_legend(0.0, cells.highest, cells.unit, height).permute(1, 2, 0)
    picture_HW3 = torch.from_numpy(empty_picture(height, width + legend_HW3.shape[1]))
    picture_HW3[:, width:] = legend_HW3
    rows, columns = torch.arange(height) // cells.cell, torch.arange(width) // cells.cell
    # Enlarged in place, as bytes: a large photograph's map is not held twice.
    torch.index_select(small_hw3.cpu()[rows], 1, columns, out=picture_HW3[:, :width])
    return picture_HW3.permute(2, 0, 1)
