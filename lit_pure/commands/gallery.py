"""`gallery`: a page to compare runs by eye. Knows flags and what is printed."""

import argparse
import sys
from pathlib import Path

from lit_pure.baselines.table import BASELINES
from lit_pure.commands.parsing import Subparsers, add, whole_number
from lit_pure.config.compose import ConfigError
from lit_pure.images.labels import BICUBIC, LQ
from lit_pure.runs import folder as runs

PEERS = [name for name in BASELINES if name != BICUBIC]
"""Baselines to ask for; bicubic is on every page."""
MEGABYTE = 1e6
"""In bytes."""
HEAVY = 100
"""Above this many megabytes, a page opens slowly, and phones fail."""


def arguments(commands: "Subparsers[argparse.ArgumentParser]") -> None:
    """Add the command."""
    command = add(commands, "gallery", gallery_command)
    command.add_argument("runs", nargs="+", metavar="RUN", help="for example demo or demo/version_0")
    command.add_argument("--out", type=Path, default=Path("gallery"), metavar="DIR", help="folder (default: gallery)")
    command.add_argument(
        "--folder",
        action="append",
        default=[],
        metavar="NAME=DIR",
        help="pictures of another method, named like the test pictures; its figures are read from scores.csv there, "
        "written by evaluate --csv; may be repeated",
    )
    command.add_argument(
        "--baseline",
        action="append",
        default=[],
        choices=PEERS,
        metavar="NAME",
        help=f"a network of others to show beside the runs, made of the LQ pictures: {', '.join(PEERS)}; its pictures "
        "are kept in the folder; may be repeated",
    )
    command.add_argument(
        "--test-set",
        action="append",
        default=[],
        metavar="NAME",
        help="a test set to show (default: all that the runs share); may be repeated",
    )
    count = whole_number(1)
    command.add_argument(
        "--photos", type=count, default=50, metavar="N", help="at most N pictures, drawn by the seed (default: 50)"
    )
    command.add_argument(
        "--comparisons", type=count, default=50, metavar="N", help="for each voter (default: 50, as in the paper)"
    )
    command.add_argument(
        "--seed",
        type=whole_number(0),
        default=0,
        metavar="N",
        help="draws the pictures and the order of the blind test (default: 0)",
    )


def gallery_command(arguments: argparse.Namespace) -> int:
    """Write one HTML page to compare runs picture by picture, with a blind test; `votes` counts its votes."""
    chosen = [runs.require(name) for name in arguments.runs]
    folders = _folders(arguments.folder)
    peers = _baselines(arguments.baseline, folders)
    from lit_pure.gallery.gather import gather
    from lit_pure.gallery.page import require_replaceable

    require_replaceable(arguments.out)
    gallery = gather(chosen, folders, arguments.test_set, arguments.photos, arguments.seed)
    from tqdm import tqdm

    from lit_pure.gallery.write import write

    if peers:
        from lit_pure.gallery.baselines import with_baselines

        count = len(peers) * sum(LQ in shot.pictures for shot in gallery.shots)
        with tqdm(total=count, unit=" pictures", desc="enlarging", file=sys.stderr, disable=None) as bar:
            gallery = with_baselines(gallery, peers, arguments.out, bar.update)
    with tqdm(total=len(gallery.shots), unit=" pictures", desc="packing", file=sys.stderr, disable=None) as bar:
        written = write(gallery, arguments.out, arguments.comparisons, bar.update)
    for note in [*gallery.notes, *written.notes]:
        print(f"missing: {note}")
    size = written.size / MEGABYTE
    pictures = f"{written.shots} picture{'s' * (written.shots != 1)} of {', '.join(gallery.sets)}"
    print(f"{written.path}: {pictures}, {', '.join(gallery.methods)}, {size:.1f} MB (gallery {written.id})")
    if written.comparisons:
        votes = f"{written.comparisons} vote{'s' * (written.comparisons != 1)}"
        where = f"{written.path}#blind asks for {votes}"
        print(f"blind test: {where}; count what voters save with: lit-pure votes FILE ...")
    if size > HEAVY:
        fewer = max(1, int(written.shots * HEAVY / size))
        print(f"warning: browsers are slow above {HEAVY} MB; --photos {fewer} or a single --test-set makes it smaller")
    return 1 if written.notes else 0


def _baselines(names: list[str], folders: dict[str, Path]) -> list[str]:
    """The named baselines, each once. Raises ConfigError for one that is not installed, or shares a folder's name."""
    for name in names:
        BASELINES[name].require()
        if name in folders:
            raise ConfigError(f"--baseline {name}: a --folder has this name, too; use another name for the folder")
    return list(dict.fromkeys(names))


def _folders(words: list[str]) -> dict[str, Path]:
    """Parse NAME=DIR into name -> folder. Raises ConfigError."""
    folders: dict[str, Path] = {}
    for word in words:
        name, equals, folder = word.partition("=")
        name = name.strip()
        if not name or not equals or not folder:
            raise ConfigError(f"--folder {word}: give NAME=DIR, for example StableSR=results/stablesr")
        if not name.isprintable():
            raise ConfigError(
                f"--folder {word!r}: the name contains characters that cannot be printed; use another name"
            )
        if name in folders:
            raise ConfigError(f"--folder {word}: {name} is already used; use another name")
        if not Path(folder).is_dir():
            raise ConfigError(f"--folder {word}: there is no folder {folder}")
        folders[name] = Path(folder)
    return folders
