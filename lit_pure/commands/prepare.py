"""`prepare`: unpacks and checks a published set. Knows flags and what is printed."""

import argparse
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lit_pure.commands.parsing import Subparsers, add
from lit_pure.config.compose import ConfigError
from lit_pure.datasets.curation.published import SETS

SHARDS = "shards"
"""In place of a set's name: pack any folder."""


def arguments(commands: "Subparsers[argparse.ArgumentParser]") -> None:
    """Add the command."""
    command = add(commands, "prepare", prepare_command)
    command.formatter_class = argparse.RawDescriptionHelpFormatter
    sets = (f"  {name}: {one.about}\n    {one.home}\n    licence: {one.licence}" for name, one in SETS.items())
    packs = (
        f"  {SHARDS}: any folder of pictures packed into tar shards, with its meta_info.txt and captions.jsonl if any"
    )
    command.epilog = "\n".join(["sets, and where they are published:", *sets, "and:", packs])
    names = (*SETS, SHARDS)
    command.add_argument("name", metavar="NAME", choices=names, help=f"one of {', '.join(names)}")
    command.add_argument(
        "source", type=Path, help="folder with the published archives, packed or unpacked; or one archive"
    )
    command.add_argument("out", type=Path, help="folder to write to")
    command.add_argument("--dry-run", action="store_true", help="read and count, write nothing")
    command.add_argument("--limit", type=int, metavar="N", help="take only N pictures of each part, to try")
    command.add_argument(
        "--count", type=int, nargs="+", metavar="N", help="pictures that your copy has; one number for each part"
    )


def prepare_command(arguments: argparse.Namespace) -> int:
    """Unpack a published set from local archives, check it, and arrange it for training or tests.

    Nothing is downloaded. A repeated call resumes where the last one stopped; `shards` starts again.
    """
    source, out = arguments.source, arguments.out
    if not source.exists():
        raise ConfigError(f"{source}: no such folder; name the one with the archives, or the one to pack")
    if out.exists() and not out.is_dir():
        raise ConfigError(f"{out} is not a folder; name another one to write to")
    if arguments.name == SHARDS:
        return _pack(arguments)
    published = SETS[arguments.name]
    for flag, numbers in (("--limit", [arguments.limit]), ("--count", arguments.count or [])):
        if any(number is not None and number < 1 for number in numbers):
            raise ConfigError(f"{flag} must be 1 or more")
    if arguments.count and len(arguments.count) not in (1, len(published.parts)):
        titles = ", ".join(part.title for part in published.parts)
        raise ConfigError(f"--count: give one number, or {len(published.parts)} ({titles})")
    from lit_pure.datasets.curation.prepare import Preparation, with_counts

    if arguments.count:
        published = with_counts(published, arguments.count)
    total = None if arguments.limit else sum(part.count for part in published.parts)
    from tqdm import tqdm

    bar: tqdm[Any] = tqdm(total=total, unit=" pictures", desc=arguments.name, file=sys.stderr, disable=None)
    with bar:
        work = Preparation(
            published,
            source,
            out,
            limit=arguments.limit,
            dry_run=arguments.dry_run,
            progress=lambda target: bar.update(),
        )
        work.run()
    for part in published.parts:
        print(f"{part.title}: {work.number(part):,} pictures")
    if published.uncertain:
        print(f"not certain: {published.uncertain}")
    if arguments.dry_run:
        print("nothing was written; without --dry-run, the pictures are written to", out)
        return 0
    _show_next(out, (*published.use, published.check))
    return 0


def _pack(arguments: argparse.Namespace) -> int:
    """Pack a folder into shards."""
    source, out = arguments.source, arguments.out
    if arguments.dry_run or arguments.limit or arguments.count:
        raise ConfigError(f"prepare {SHARDS} packs a whole folder: leave out --dry-run, --limit and --count")
    if not source.is_dir():
        raise ConfigError(f"{source} is a file; prepare {SHARDS} packs a folder of pictures: name one")
    ways = source.resolve(), out.resolve()
    if ways[0].is_relative_to(ways[1]) or ways[1].is_relative_to(ways[0]):
        raise ConfigError(f"{out} and {source}: one contains the other; write to a separate folder")
    from lit_pure.config.data import PhotosConfig
    from lit_pure.datasets.captions.source import Sidecar
    from lit_pure.datasets.encoded import Photo
    from lit_pure.datasets.shards import write_shards
    from lit_pure.datasets.sources import find_photos

    listed, captions = source / "meta_info.txt", source / "captions.jsonl"
    photos = find_photos(PhotosConfig(source=str(source), meta_info=str(listed) if listed.is_file() else ""), 1)
    sidecar = Sidecar(captions) if captions.is_file() else None
    if sidecar and (missing := sidecar.missing([photo.name for photo in photos.found])):
        more = f" and {len(missing) - 1:,} more" if len(missing) > 1 else ""
        raise ValueError(
            f"{captions}: no caption for {missing[0]}{more}; add the missing captions, or move the file away"
        )

    def caption(photo: Photo) -> str:
        return (sidecar.find(photo.name) if sidecar else None) or ""

    from tqdm import tqdm

    bar = tqdm(photos.found, unit=" pictures", desc=SHARDS, file=sys.stderr, disable=None)
    shards = write_shards(bar, out, caption=caption)
    print(f"{len(photos.found):,} pictures in {len(shards):,} shards")
    for path, reason in photos.skipped:
        print(f"left out {path}: {reason}")
    _show_next(out, ("data.train.source={out}" + (" data.train.captions=shards" if sidecar else ""),))
    return 0


def _show_next(out: Path, lines: Sequence[str]) -> None:
    print(f"{out} is ready; next:")
    for line in lines:
        print(" ", " ".join(shlex.quote(word.format(out=out)) for word in line.split(" ")))
