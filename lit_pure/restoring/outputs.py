"""What restoring writes for each photograph, and of which photograph an earlier picture was made.

Knows the names of pictures, maps and records, and refuses what would lose a picture, before any work. Knows nothing of
pixels, and imports no torch.
"""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lit_pure.files.names import nfc
from lit_pure.files.outputs import OutputClash, identify, plan_names, require_apart, require_single
from lit_pure.files.reading import BROKEN
from lit_pure.images.files import MAP, RECORD

ORIGINAL, RECONSTRUCTED = "original", "reconstructed"
"""The two folders of `reconstruct`; the same photograph has the same name in both."""
_REPLACE = "name another folder, or replace it with --again"


def plan_restorations(
    paths: Sequence[Path], out: Path, places: Sequence[Path] = (), *, again: bool = False
) -> list[str]:
    """The name of what is written of each photograph, without extension.

    Args:
        paths: the photographs.
        out: the folder to write to; it may be missing.
        places: the folders they are from.
        again: whether to replace pictures of other photographs, and pictures without a record.

    Raises:
        OutputClash: an output would replace a photograph, or the picture of another photograph; two photographs would
            share an output; or `out` is one of the folders.
    """
    names = plan_names(paths, out)
    planned = [(path, file) for path, name in zip(paths, names, strict=True) for file in files_of(out, name)]
    require_single(planned)
    require_apart([file for _, file in planned], [*places, *paths])
    for path, name in zip(paths, names, strict=True) if not again else ():
        _require_own(path, out, name)
    return names


def plan_reconstructions(paths: Sequence[Path], out: Path | None, places: Sequence[Path] = ()) -> list[str]:
    """The name of each photograph, and of its pictures in `out`, if any, without extension.

    Args:
        paths: the photographs.
        out: the folder above the two folders of pictures.
        places: the folders they are from.

    Raises:
        OutputClash: two photographs have one name, or a picture would replace a photograph or what is not ours.
    """
    names = plan_names(paths, out)
    planned = [reconstruction_files(out, name) for name in names] if out else []
    require_apart([file for pair in planned for file in pair], [*places, *paths])
    for original, made in planned:
        if original.exists() and not made.exists():  # ours is written last
            raise OutputClash(f"{original} exists, and is not of lit-pure reconstruct; name another folder")
    return names


def reconstruction_files(out: Path, name: str) -> tuple[Path, Path]:
    """The original and the reconstructed picture; the second one is written first."""
    return out / ORIGINAL / f"{name}.png", out / RECONSTRUCTED / f"{name}.png"


def files_of(out: Path, name: str) -> list[Path]:
    """The files that are written of a photograph, the one with the longest name last."""
    return [out / f"{name}{ending}" for ending in (".png", RECORD, f"{MAP}.png")]


def read_record(out: Path, name: str) -> dict[str, Any]:
    """The record of an earlier picture; empty if none can be read."""
    try:
        record = json.loads((out / f"{name}{RECORD}").read_text(encoding="utf-8"))
    except BROKEN:
        return {}
    return record if isinstance(record, dict) else {}


def made_from(path: Path, out: Path) -> str:
    """How a record names its photograph: from its own folder, so that both may be moved together."""
    return nfc(os.path.relpath(os.path.realpath(path), os.path.realpath(out)))


def _require_own(path: Path, out: Path, name: str) -> None:
    """Raises OutputClash where a picture exists that was made of another photograph, or of none that is known."""
    picture = out / f"{name}.png"
    if not picture.exists():
        return
    if not (out / f"{name}{RECORD}").exists():
        raise OutputClash(f"{picture} exists without a record of lit-pure ({name}{RECORD}); {_REPLACE}")
    made = read_record(out, name).get("made")
    made = made if isinstance(made, Mapping) else {}
    source = made.get("from")
    other = out.resolve() / source if isinstance(source, str) else None
    if other is not None and other.is_file() and not other.samefile(path) and not _is_copy(path, made.get("source")):
        raise OutputClash(f"{picture} was made of {os.path.relpath(other)}, not of {path}; {_REPLACE}")


def _is_copy(path: Path, source: Any) -> bool:
    """Whether a photograph has the content of the one that a record names. Nobody loses a picture of it then."""
    try:
        return isinstance(source, Mapping) and all(source.get(key) == value for key, value in identify(path).items())
    except OSError:  # who reads it says so
        return False
