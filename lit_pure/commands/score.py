"""`score`: how blurred and how noisy photographs are, by the estimator of a run. Knows flags and what is printed."""

import argparse
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from lit_pure.commands.parsing import Subparsers, add, print_table
from lit_pure.commands.paths import find_photographs, require_writable_files
from lit_pure.commands.processes import add_processes, over_processes
from lit_pure.config.dem import DemExperiment
from lit_pure.files.atomic import write_json
from lit_pure.files.work import ForEach
from lit_pure.runs import folder as runs
from lit_pure.runs.folder import Run

SHIPPED = "dem/bsds500/shipped"
"""The estimator that comes with the project."""


def arguments(commands: "Subparsers[argparse.ArgumentParser]") -> None:
    """Add the command."""
    command = add(commands, "score", score_command)
    command.add_argument("photos", nargs="+", type=Path, metavar="PHOTO", help="files or folders")
    command.add_argument("--run", default=SHIPPED, help=f"whose estimator to use (default: {SHIPPED})")
    command.add_argument("--json", type=Path, metavar="FILE", help="also write the scores to FILE")
    add_processes(command)


def score_command(arguments: argparse.Namespace) -> int:
    """Score blur and noise of photographs from 0 to 1; higher is worse. Scores only order photographs."""
    return over_processes(arguments, _score)


def _score(arguments: argparse.Namespace, each: ForEach) -> int:
    require_writable_files({"--json": arguments.json}, arguments.photos)
    run = runs.require(arguments.run)
    experiment = run.experiment_as(DemExperiment)
    paths = find_photographs(arguments.photos)
    from tqdm import tqdm

    # Tiles as large as the LQ images that it was trained on; thresholds of terciles come from such, too.
    tile = experiment.data.size // experiment.data.degradation.scale
    found: dict[int, dict[str, Any] | str] = {}
    bar: tqdm[Any] = tqdm(total=len(paths), desc="scoring", unit=" photos", file=sys.stderr, disable=None, leave=False)

    def receive(number: int, scored: dict[str, Any] | str) -> None:
        found[number] = scored
        bar.update()

    with bar:
        each(partial(_scoring, run=run, tile=tile), paths, receive)
    scored = [found[number] for number in range(len(paths))]
    rows = [row for row in scored if isinstance(row, dict)]
    bad = [reason for reason in scored if isinstance(reason, str)]
    if arguments.json is not None:  # first: what is measured is kept, whatever becomes of the table
        write_json(arguments.json, {"run": run.label, "photos": rows, "not_scored": bad})
    if rows:
        _show(rows)
    for reason in bad:
        print(f"not scored: {reason}")
    if arguments.json is not None:
        print(f"written: {arguments.json}")
    return 1 if bad else 0


@contextmanager
def _scoring(device: Any, *, run: Run, tile: int) -> Iterator[Callable[[Path], dict[str, Any] | str]]:
    """Gives what scores a photograph: a row, or the reason why there is none."""
    from lit_pure.degradation.weights import load_dem
    from lit_pure.images.io import BadImage, read_image

    dem = load_dem(run.weights).to(device)

    def score(path: Path) -> dict[str, Any] | str:
        try:
            scores_12 = dem.score(read_image(path)[None], tile)
        except BadImage as error:
            return str(error)
        [[blur, noise]], [(blur_level, noise_level)] = scores_12.tolist(), dem.labels(scores_12)
        return {"photo": str(path), "blur": blur, "blur_level": blur_level, "noise": noise, "noise_level": noise_level}

    yield score


def _show(rows: list[dict[str, Any]]) -> None:
    """Rows under each other."""
    cells = [[f"{cell:.3f}" if isinstance(cell, float) else cell for cell in row.values()] for row in rows]
    print_table([list(rows[0]), *cells], figures=(1, 3))
