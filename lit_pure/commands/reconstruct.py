"""`reconstruct`: what a tokenizer keeps of photographs (the paper's table 1). Knows flags and what is printed."""

import argparse
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lit_pure.commands.figures import write
from lit_pure.commands.parsing import Subparsers, add, comma_list, whole_number
from lit_pure.commands.paths import as_config_error, find_photographs, require_writable_files, require_writable_folder
from lit_pure.commands.processes import add_processes, over_processes
from lit_pure.config.compose import COMMAND_LINE, ConfigError
from lit_pure.config.tokenizer import TokenizerExperiment
from lit_pure.families.table import family_of
from lit_pure.files.work import ForEach
from lit_pure.runs import folder as runs
from lit_pure.runs.folder import Run

if TYPE_CHECKING:
    from lit_pure.restoring.reconstruct import CodeUse, ReconstructedFile, Reconstructions

MEASURED = "psnr,ssim"
TILE = 512
"""The paper's pictures go through in one piece [px]."""


def arguments(commands: "Subparsers[argparse.ArgumentParser]") -> None:
    """Add the command."""
    command = add(commands, "reconstruct", reconstruct_command)
    command.add_argument("photos", nargs="+", type=Path, metavar="PHOTO", help="files or folders")
    command.add_argument(
        "--run", default="tokenizer/nano", help="a tokenizer, or a run with one (default: tokenizer/nano)"
    )
    command.add_argument(
        "--size",
        type=whole_number(1),
        metavar="PX",
        help="cut a square of this side out of the middle of each (default: the whole photograph)",
    )
    command.add_argument(
        "--tile",
        type=whole_number(1),
        default=TILE,
        metavar="PX",
        help=f"longest side in one piece; larger photographs are processed in overlapping tiles (default: {TILE})",
    )
    command.add_argument(
        "--metrics",
        type=comma_list,
        default=MEASURED,
        metavar="A,B",
        help=f"metrics of each photograph (default: {MEASURED})",
    )
    command.add_argument(
        "--out", type=Path, metavar="DIR", help="write original/NAME.png and reconstructed/NAME.png below DIR"
    )
    command.add_argument("--csv", type=Path, metavar="FILE", help="also write the scores of all photographs to FILE")
    command.add_argument(
        "--json", type=Path, metavar="FILE", help="also write means, intervals and use of codes to FILE"
    )
    add_processes(command)


def reconstruct_command(arguments: argparse.Namespace) -> int:
    """Encode photographs and decode them again: the most that a tokenizer can keep, as in the paper's table 1.

    The paper uses pictures of 512 px: --size 512. Scores are those of 8-bit pictures, PSNR and SSIM on the luma;
    intervals are those of the studentized bootstrap. The number of used codes means little for few photographs. A file
    that cannot be reconstructed or scored is reported and makes the exit code 1. An interrupted call starts again.
    """
    return over_processes(arguments, _reconstruct)


def _reconstruct(arguments: argparse.Namespace, each: ForEach) -> int:
    paths, keys = _checked(arguments)
    run = runs.require(arguments.run)
    origin = family_of(run).tokenizer_run(run)
    _check_tile(arguments.tile, origin)
    from lit_pure.metrics import files
    from lit_pure.metrics.rows import write_rows

    found = _reconstructed(each, arguments, origin, paths, keys)
    _show(found, arguments.out)
    if arguments.csv:
        write_rows(arguments.csv, found.rows(), keys)
        print(f"written: {arguments.csv}")
    how = {"run": run.label, "tokenizer": origin.label, "size": arguments.size, "tile": arguments.tile}
    write(arguments.json, {**how, **found.record(), **files.identity(keys)})
    return 1 if found.problems else 0


def _checked(arguments: argparse.Namespace) -> tuple[list[Path], tuple[str, ...]]:
    """The photographs, and the metrics to measure. Raises ConfigError for all that is wrong whatever the run is."""
    from lit_pure.metrics.choice import choose
    from lit_pure.metrics.table import METRICS
    from lit_pure.restoring.outputs import plan_reconstructions

    paths = find_photographs(arguments.photos)
    require_writable_files({"--csv": arguments.csv, "--json": arguments.json}, arguments.photos)
    if arguments.out:
        require_writable_folder("--out", arguments.out)
    with as_config_error(COMMAND_LINE):
        plan_reconstructions(paths, arguments.out, arguments.photos)
    if sets := [key for key in arguments.metrics if key in METRICS and METRICS[key].of_sets]:
        remedy = "write pictures with --out DIR, then lit-pure evaluate --pred DIR/reconstructed --target DIR/original"
        raise ConfigError(f"{COMMAND_LINE}: --metrics {sets[0]} compares sets, not single pictures; {remedy}")
    return paths, choose(arguments.metrics, with_target=True).metrics


def _check_tile(tile: int, origin: Run) -> None:
    """Raises ConfigError where it cannot be cut into the tokenizer's cells."""
    cell = origin.experiment_as(TokenizerExperiment).vq.downsample
    if tile != (near := max(2, round(tile / cell)) * cell):
        rule = f"is not a multiple, at least twice, of the {cell} px of a code"
        raise ConfigError(f"{COMMAND_LINE}: --tile {tile} {rule}; try {near}")


def _reconstructed(
    each: ForEach, arguments: argparse.Namespace, origin: Run, paths: list[Path], keys: tuple[str, ...]
) -> "Reconstructions":
    """Reconstruct all photographs, and print the scores of each."""
    from tqdm import tqdm

    from lit_pure.files.atomic import require_writable
    from lit_pure.restoring.outputs import plan_reconstructions
    from lit_pure.restoring.reconstruct import CodeUse, Reconstructions, prepare_folders

    out = arguments.out
    names = plan_reconstructions(paths, out)
    if out:
        require_writable(out)
    prepare_folders(out)
    use = CodeUse(origin.experiment_as(TokenizerExperiment).vq.codes)
    found: dict[int, ReconstructedFile] = {}
    bar: tqdm[Any] = tqdm(total=len(paths), unit=" photos", desc="reconstructing", file=sys.stderr, disable=None)

    def receive(number: int, made: "tuple[ReconstructedFile, CodeUse]") -> None:
        found[number], own = made
        use.add_use(own)
        bar.update()
        with bar.external_write_mode(file=sys.stdout):
            _tell(found[number])

    how = {"tile": arguments.tile, "size": arguments.size, "out": out}
    with bar:
        each(partial(_reconstructing, origin=origin, keys=keys, how=how), list(zip(paths, names, strict=True)), receive)
    return Reconstructions(keys, use, [found[number] for number in range(len(paths))])


@contextmanager
def _reconstructing(
    device: Any, *, origin: Run, keys: tuple[str, ...], how: dict[str, Any]
) -> "Iterator[Callable[[tuple[Path, str]], tuple[ReconstructedFile, CodeUse]]]":
    """Gives what reconstructs a photograph, by its path and the name of its pictures."""
    from lit_pure.metrics.score import Scorer
    from lit_pure.models import weights
    from lit_pure.restoring.reconstruct import CodeUse, reconstruct_file

    tokenizer = weights.load_tokenizer(origin.weights).to(device)
    scorers = [Scorer(key) for key in keys]

    def reconstruct(photo: tuple[Path, str]) -> "tuple[ReconstructedFile, CodeUse]":
        use = CodeUse(tokenizer.config.codes)
        return reconstruct_file(tokenizer, *photo, scorers, use, **how), use

    yield reconstruct


def _tell(outcome: "ReconstructedFile") -> None:
    if outcome.scores:
        print(f"{outcome.name}: {', '.join(f'{key} {value:.4f}' for key, value in outcome.scores.items())}")
    for problem in outcome.problems:
        print(problem)


def _show(found: "Reconstructions", out: Path | None) -> None:
    where = f" to {out}/original and /reconstructed" if out else ""
    print(f"{found.done} of {len(found.outcomes)} reconstructed{where}")
    for key, mean in found.means().items():
        span = f", 95 % interval {mean.low:.4f} .. {mean.high:.4f}" if mean.known else ""
        print(f"{key}: mean {mean.mean:.4f}{span}, of {mean.n}")
    use, entries = found.use, len(found.use.counts_N)
    share = f"{use.used:,} of {entries:,} codes used ({100 * use.used / entries:.1f} %)"
    print(f"{share} in {use.cells:,} cells, perplexity {use.perplexity:,.1f}")
