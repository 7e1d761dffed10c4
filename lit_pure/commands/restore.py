"""`restore`: photographs to restored photographs, with the weights of a run. Knows flags and what is printed."""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from lit_pure import runs
from lit_pure.commands.parsing import Subparsers, add


def arguments(commands: "Subparsers[argparse.ArgumentParser]") -> None:
    """Add the command."""
    command = add(commands, "restore", restore_command)
    command.add_argument("photos", nargs="+", type=Path, metavar="PHOTO", help="files or folders")
    command.add_argument("--run", default="demo", help="whose weights to use (default: demo)")
    command.add_argument("--out", type=Path, default=Path("restored"), help="folder to write to (default: restored)")


def restore_command(arguments: argparse.Namespace) -> int:
    """Restore photographs with the weights of a run."""
    run = runs.require(arguments.run)
    from lit_pure.restore_folder import photographs

    paths = photographs(arguments.photos)
    import torch
    from tqdm import tqdm

    from lit_pure.lit.build import restorer_of
    from lit_pure.restore_folder import restore_files

    accelerator = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    restorer = restorer_of(run).to(accelerator or torch.device("cpu"))
    failed = 0
    with tqdm(unit=" tokens", desc="restoring", file=sys.stderr, disable=None) as bar:

        def progress(path: Path) -> Callable[[int], None]:
            bar.set_description(path.name)

            def made(tokens: int) -> None:
                bar.update(tokens)

            return made

        for outcome in restore_files(restorer, paths, arguments.out, progress):
            failed += outcome.picture is None
            with bar.external_write_mode(file=sys.stdout):
                print(f"{outcome.picture}: {outcome.note}" if outcome.picture else outcome.note)
    print(f"{len(paths) - failed} of {len(paths)} restored to {arguments.out}")
    return 1 if failed else 0
