"""`score`: how blurred and how noisy photographs are, by the estimator of a run. Knows flags and what is printed."""

import argparse
import sys
from pathlib import Path
from typing import Any

from lit_pure.commands.device import device
from lit_pure.commands.parsing import Subparsers, add, print_table
from lit_pure.commands.paths import find_photographs, require_writable_files
from lit_pure.config.dem import DemExperiment
from lit_pure.files.atomic import write_json
from lit_pure.runs import folder as runs

SHIPPED = "dem/bsds500/shipped"
"""The estimator that comes with the project."""


def arguments(commands: "Subparsers[argparse.ArgumentParser]") -> None:
    """Add the command."""
    command = add(commands, "score", score_command)
    command.add_argument("photos", nargs="+", type=Path, metavar="PHOTO", help="files or folders")
    command.add_argument("--run", default=SHIPPED, help=f"whose estimator to use (default: {SHIPPED})")
    command.add_argument("--json", type=Path, metavar="FILE", help="also write the scores to FILE")


def score_command(arguments: argparse.Namespace) -> int:
    """Score blur and noise of photographs from 0 to 1; higher is worse. Scores only order photographs."""
    require_writable_files({"--json": arguments.json}, arguments.photos)
    run = runs.require(arguments.run)
    experiment = run.experiment_as(DemExperiment)
    paths = find_photographs(arguments.photos)
    from tqdm import tqdm

    from lit_pure.degradation.weights import load_dem
    from lit_pure.images.io import BadImage, read_image

    # Tiles as large as the LQ images that it was trained on; thresholds of terciles come from such, too.
    tile = experiment.data.size // experiment.data.degradation.scale
    dem = load_dem(run.weights).to(device())
    rows: list[dict[str, Any]] = []
    bad: list[str] = []
    for path in tqdm(paths, desc="scoring", unit=" photos", file=sys.stderr, disable=None, leave=False):
        try:
            scores_12 = dem.score(read_image(path)[None], tile)
        except BadImage as error:
            bad.append(str(error))
            continue
        [[blur, noise]], [(blur_level, noise_level)] = scores_12.tolist(), dem.labels(scores_12)
        row = {"photo": str(path), "blur": blur, "blur_level": blur_level, "noise": noise, "noise_level": noise_level}
        rows.append(row)
    if arguments.json is not None:  # first: what is measured is kept, whatever becomes of the table
        write_json(arguments.json, {"run": run.label, "photos": rows, "not_scored": bad})
    if rows:
        _show(rows)
    for reason in bad:
        print(f"not scored: {reason}")
    if arguments.json is not None:
        print(f"written: {arguments.json}")
    return 1 if bad else 0


def _show(rows: list[dict[str, Any]]) -> None:
    """Rows under each other."""
    cells = [[f"{cell:.3f}" if isinstance(cell, float) else cell for cell in row.values()] for row in rows]
    print_table([list(rows[0]), *cells], figures=(1, 3))
