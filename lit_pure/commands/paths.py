"""Checks files and folders of a command line before any work, so that mistakes are reported at once.

Knows what can be read and written. Knows nothing of what commands do with it, and imports nothing slow.
"""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from lit_pure.config.compose import COMMAND_LINE, ConfigError
from lit_pure.files.outputs import require_apart
from lit_pure.images.files import EXTENSIONS, list_images, list_photographs


@contextmanager
def as_config_error(flag: str = "") -> Iterator[None]:
    """Turn a ValueError inside into a ConfigError, since the command line is wrong; `flag` begins its message."""
    try:
        yield
    except ConfigError:
        raise
    except ValueError as error:
        raise ConfigError(f"{flag}{': ' if flag else ''}{error}") from error


def require_writable_files(files: Mapping[str, Path | None], sources: Iterable[Path] = ()) -> None:
    """Refuse files that cannot be written, or that would replace something else.

    Args:
        files: by flag; None where the flag was not given.
        sources: files that are read, whatever their names; folders among them may be written into.

    Raises:
        ConfigError: a folder is missing or not writable; a path exists but is not a regular file (a folder, a device)
            or has the extension of a picture, itself or behind a link; two flags name one file, or one is a source.
    """
    seen: dict[Path, str] = {}
    read = [source for source in sources if not source.is_dir()]
    for flag, file in files.items():
        if file is None:
            continue
        if wrong := _wrong(file):
            raise ConfigError(f"{COMMAND_LINE}: {flag} {file} cannot be written: {wrong}")
        other = seen.setdefault(file.resolve(), flag)
        if other != flag:
            raise ConfigError(f"{COMMAND_LINE}: {other} and {flag} both name {file}; name two files")
        with as_config_error(f"{COMMAND_LINE}: {flag}"):
            require_apart([file], read)


def _wrong(file: Path) -> str:
    """Why a file cannot be written, and the remedy; "" where it can."""
    folder = file.absolute().parent
    if not folder.is_dir():
        return f"there is no folder {file.parent}; make it first"
    if file.is_dir():
        return "it is a folder; name a file in it"
    if file.exists() and not file.is_file():
        return "it is not a regular file; name another one"
    for name in (file, file.resolve()):
        if name.suffix.lower() in EXTENSIONS:
            return _for_pictures(name)
    if not os.access(folder, os.W_OK | os.X_OK):
        return f"{file.parent} is not writable; name another folder"
    return ""


def require_not_picture(flag: str, file: Path) -> None:
    """Refuse to write into a picture, also behind a link. Raises ConfigError."""
    for name in (file, file.resolve()):
        if name.suffix.lower() in EXTENSIONS:
            raise ConfigError(f"{COMMAND_LINE}: {flag} {file} cannot be written: {_for_pictures(name)}")


def _for_pictures(file: Path) -> str:
    return f"{file.suffix} is for pictures; choose another extension"


def require_writable_folder(flag: str, out: Path) -> None:
    """Refuse an output folder that is a file, or that cannot be made. Raises ConfigError."""
    existing = next(place for place in (out.absolute(), *out.absolute().parents) if place.exists())
    if not existing.is_dir():
        at = "" if existing == out.absolute() else f": {existing}"
        raise ConfigError(f"{COMMAND_LINE}: {flag} {out}{at} is a file; name a folder to write to, or a new one")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise ConfigError(f"{COMMAND_LINE}: {flag} {out}: {existing} is not writable; name another folder")


def find_photographs(places: Sequence[Path]) -> list[Path]:
    """The given files, and all pictures of the given folders. Raises ConfigError where one is missing."""
    with as_config_error(COMMAND_LINE):
        return list_photographs(places)


def require_pictures(flag: str, folder: Path | None) -> None:
    """Refuse a folder that is missing or contains no picture. Raises ConfigError."""
    if folder is not None:
        with as_config_error(flag):
            list_images(folder)
