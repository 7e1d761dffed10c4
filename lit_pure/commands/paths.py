"""What a command line names on disk, looked at before any work: mistakes are told at once. Imports nothing slow."""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from lit_pure.config.compose import COMMAND_LINE, ConfigError
from lit_pure.images.files import EXTENSIONS, list_images, list_photographs


@contextmanager
def asked_wrongly(flag: str = "") -> Iterator[None]:
    """What raises ValueError inside is a mistake in what was asked: ConfigError, with the flag before its words."""
    try:
        yield
    except ConfigError:
        raise
    except ValueError as error:
        raise ConfigError(f"{flag}{': ' if flag else ''}{error}") from error


def require_places(files: Mapping[str, Path | None]) -> None:
    """Refuse files that could not be written, or would replace what they must not.

    Args:
        files: by flag; None is one that was not asked for.

    Raises:
        ConfigError: a folder is missing or cannot be written to; a file is there and is none that can be replaced (a
            folder, a device), or is called as pictures are; two flags name one file.
    """
    seen: dict[Path, str] = {}
    for flag, file in files.items():
        if file is None:
            continue
        if wrong := _wrong(file):
            raise ConfigError(f"{COMMAND_LINE}: {flag} {file} cannot be written: {wrong}")
        other = seen.setdefault(file.resolve(), flag)
        if other != flag:
            raise ConfigError(f"{COMMAND_LINE}: {other} and {flag} both name {file}; give each a file of its own")


def _wrong(file: Path) -> str:
    """Why a file cannot be written, and the remedy; "" where it can."""
    folder = file.absolute().parent
    if not folder.is_dir():
        return f"there is no folder {file.parent}; make it first"
    if file.is_dir():
        return "it is a folder; name a file in it"
    if file.exists() and not file.is_file():
        return "it is no plain file; name another one"
    if file.suffix.lower() in EXTENSIONS:
        return f"{file.suffix} is for pictures; choose another extension"
    if not os.access(folder, os.W_OK | os.X_OK):
        return f"nothing can be written to {file.parent}; name another folder"
    return ""


def require_folder(flag: str, out: Path) -> None:
    """Refuse a folder to write to that is none, or that could not be made. Raises ConfigError."""
    there = next(place for place in (out.absolute(), *out.absolute().parents) if place.exists())
    if not there.is_dir():
        at = "" if there == out.absolute() else f": {there}"
        raise ConfigError(f"{COMMAND_LINE}: {flag} {out}{at} is a file; name a folder to write to, or a new one")
    if not os.access(there, os.W_OK | os.X_OK):
        raise ConfigError(f"{COMMAND_LINE}: {flag} {out}: nothing can be written to {there}; name another folder")


def asked_photographs(places: Sequence[Path]) -> list[Path]:
    """The files named, and all pictures of the folders named. Raises ConfigError where there are none."""
    with asked_wrongly(COMMAND_LINE):
        return list_photographs(places)


def require_pictures(flag: str, folder: Path | None) -> None:
    """Refuse a folder to read that is none, or holds no picture. Raises ConfigError."""
    if folder is not None:
        with asked_wrongly(flag):
            list_images(folder)
