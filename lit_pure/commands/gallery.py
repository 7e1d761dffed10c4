"""`gallery`: a page to judge runs by eye. Knows flags and what is printed."""

import argparse
import sys
from pathlib import Path

from lit_pure.commands.parsing import Subparsers, add
from lit_pure.config.compose import ConfigError
from lit_pure.runs import folder as runs

MEGABYTE = 1e6
"""In bytes."""
HEAVY = 100
"""From so many megabytes on, a page opens slowly and phones give up."""


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
        help="another method's pictures, named as the test pictures, with its figures where evaluate --csv wrote them "
        "to scores.csv there; may be given several times",
    )
    command.add_argument(
        "--set", action="append", default=[], metavar="NAME", help="a test set (default: all that the runs share)"
    )
    command.add_argument(
        "--photos", type=_count, default=50, metavar="N", help="most pictures to show, drawn by the seed (default: 50)"
    )
    command.add_argument(
        "--comparisons", type=_count, default=50, metavar="N", help="asked of each voter (default: 50, the paper's)"
    )
    command.add_argument(
        "--seed", type=int, default=0, metavar="N", help="of which pictures, and of the order of the test (default: 0)"
    )


def gallery_command(arguments: argparse.Namespace) -> int:
    """Write one HTML page to compare runs picture by picture, with a blind test whose votes `votes` counts."""
    chosen = [runs.require(name) for name in arguments.runs]
    folders = _folders(arguments.folder)
    if arguments.seed < 0:
        raise ConfigError(f"--seed {arguments.seed} is below 0; give a whole number from 0")
    from lit_pure.gallery.gather import gather
    from lit_pure.gallery.page import require_ours

    require_ours(arguments.out)
    gallery = gather(chosen, folders, arguments.set, arguments.photos, arguments.seed)
    from tqdm import tqdm

    from lit_pure.gallery.write import write

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
        print(f"warning: above {HEAVY} MB browsers are slow; --photos {fewer} or a single --set makes it lighter")
    return 1 if written.notes else 0


def _folders(words: list[str]) -> dict[str, Path]:
    """NAME=DIR to name -> folder. Raises ConfigError."""
    folders: dict[str, Path] = {}
    for word in words:
        name, equals, folder = word.partition("=")
        name = name.strip()
        if not name or not equals or not folder:
            raise ConfigError(f"--folder {word}: give NAME=DIR, for example StableSR=results/stablesr")
        if not name.isprintable():
            raise ConfigError(f"--folder {word!r}: the name holds characters that cannot be printed; take another name")
        if name in folders:
            raise ConfigError(f"--folder {word}: {name} is given already; take another name")
        if not Path(folder).is_dir():
            raise ConfigError(f"--folder {word}: there is no folder {folder}")
        folders[name] = Path(folder)
    return folders


def _count(word: str) -> int:
    if not word.isascii() or not word.isdigit() or int(word) < 1:
        raise argparse.ArgumentTypeError(f"{word!r} cannot be: give a whole number from 1")
    return int(word)
