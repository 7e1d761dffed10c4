"""`bench restore`: what one restoration costs, beside the paper's table 4.

Knows flags, where the figures go, and what is printed.
"""

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING

from lit_pure.commands.figures import chosen_device, progress, where_measured, write
from lit_pure.commands.parsing import Subparsers, add, add_settings, print_table
from lit_pure.commands.paths import require_pictures, require_writable_files
from lit_pure.config.compose import ConfigError
from lit_pure.config.data import SKIMAGE
from lit_pure.families.settings import settings_of
from lit_pure.report import published
from lit_pure.runs import folder as runs
from lit_pure.runs.folder import Run

if TYPE_CHECKING:
    from lit_pure.bench.restoring import Complexity

TIMED = (
    "Timed: from an LQ square in memory to restored pixels in memory, one square at a time, until the device is done.\n"
    "Not timed: loading weights, reading and writing files, and the first restoration, which warms up."
)
MANY = 5
"""Sides of the model's square that a side of the photograph has, where cores are compared."""
COUNTED = "The paper does not say what its seconds include. Its 7080 M are the backbone; the tokenizer has 70 M more."


def arguments(what: "Subparsers[argparse.ArgumentParser]") -> argparse.ArgumentParser:
    """Add `bench restore`."""
    command = add(what, "restore", restore_command)
    command.add_argument("--run", default="demo", help="whose weights to use (default: demo)")
    command.add_argument(
        "--photos", type=Path, metavar="FOLDER", help="low-quality photographs (default: those in scikit-image)"
    )
    command.add_argument(
        "--repeat", type=int, default=5, metavar="N", help="repetitions; the median counts (default: 5)"
    )
    command.add_argument(
        "--beside",
        action="store_true",
        help="a photograph of many squares instead: on one core, on all, and on all beside a busy process",
    )
    add_settings(
        command, "settings of sampling and restoring, for example sampling.engine=jacobi sampling.dtype=bfloat16"
    )
    command.add_argument(
        "--json",
        type=Path,
        metavar="FILE",
        help="write the figures to FILE instead of the run's folder",
    )
    return command


def restore_command(arguments: argparse.Namespace) -> int:
    """Time whole restorations from pixels to pixels and count parameters, as in the paper's table 4.

    Of each photograph the middle, as large as the model's square, is restored by itself, with the run's settings and
    the colour fix of `lit-pure restore`. The figures are written to complexity.json in the run's folder, where
    `lit-pure report` finds them.

    With --beside, a photograph five squares high and wide is restored on one core, on all cores, and on all while
    another process is busy; the median of --repeat rounds counts, and only --json keeps the figures.
    """
    _check(arguments)
    run = runs.require(arguments.run)
    if arguments.beside:
        return _compare_cores(run, arguments)
    target = _target(run, arguments.json)
    settings = settings_of(run, arguments.set)
    device = chosen_device(arguments.threads)
    from lit_pure.bench.restoring import measure, squares
    from lit_pure.families.table import restorer_of

    side = settings.data.size // settings.data.degradation.scale
    photos = squares(str(arguments.photos or SKIMAGE), side, arguments.repeat)
    restorer = restorer_of(run, settings).to(device)
    cost = measure(restorer, photos, arguments.repeat, progress)
    where = where_measured(device)
    _show(run, cost, where["device"])
    changed = {"settings": arguments.set} if arguments.set else {}
    write(target, {"run": run.label, **cost.record(), **where, **changed})
    return 0


def _compare_cores(run: Run, arguments: argparse.Namespace) -> int:
    settings = settings_of(run, arguments.set)
    from lit_pure.bench.restoring import squares
    from lit_pure.bench.sharing import WAYS, compare
    from lit_pure.families.table import restorer_of

    side = MANY * settings.data.size // settings.data.degradation.scale
    [(name, photo_3hw)] = squares(str(arguments.photos or SKIMAGE), side, 1)
    told = progress("restoring", arguments.repeat * len(WAYS))
    found = compare(restorer_of(run, settings), photo_3hw, arguments.repeat, lambda way: told(1))
    print(f"{run.label}: {side}x{side} px of {name} on {found.cores} cores, the same pixels each way")
    rows = [["", "seconds", "of one core's time"]]
    rows += [[way, f"{found.seconds[way]:.1f}", f"{ratio:.2f}"] for way, ratio in found.ratios.items()]
    print_table(rows, figures=(1, 2))
    if arguments.json:
        write(arguments.json, {"run": run.label, **found.record()})
    return 0


def _check(arguments: argparse.Namespace) -> None:
    if arguments.repeat < 1:
        raise ConfigError(f"--repeat {arguments.repeat}: give 1 or more")
    if arguments.threads < 0:
        raise ConfigError(f"--threads {arguments.threads}: give 1 or more, or 0 for torch's choice")
    require_writable_files({"--json": arguments.json})
    require_pictures("--photos", arguments.photos)


def _target(run: Run, wanted: Path | None) -> Path:
    """Where the figures go. Raises ConfigError where they could not, before anything is measured."""
    if wanted is not None:
        return wanted
    if run.shipped or not os.access(run.folder, os.W_OK):
        why = "ships with the project and is not changed" if run.shipped else "is not writable"
        raise ConfigError(f"{run.folder} {why}; name a file for the figures: --json FILE")
    return run.folder / runs.COMPLEXITY


def _show(run: Run, cost: "Complexity", device: str) -> None:
    size, many = f"{cost.size}x{cost.size} px", f"restorations: {cost.restorations}, photographs: {cost.photos}"
    spread = f"lowest {cost.seconds_lowest:.3f}, highest {cost.seconds_highest:.3f}"
    print(f"{run.label}: {cost.seconds_per_image:.3f} s per picture of {size} (median; {spread}; {many})")
    print(", ".join(f"{name} {seconds:.3f} s" for name, seconds in cost.stages.items()))
    how = "".join(f"{key} {value}, " for key, value in cost.computing.items() if value != "none")
    memory = "" if cost.peak_mib is None else f", {cost.peak_mib:,.0f} MiB at most"
    print(
        f"{cost.tokens:,.0f} tokens, {cost.tokens_per_second:,.1f} a second, {cost.passes:,.0f} passes; "
        f"{how}on {device}{memory}"
    )
    print("parameters: " + ", ".join(f"{name} {count:,}" for name, count in cost.parameters.items()))
    print(TIMED)
    _show_beside(run, cost, device)


def _show_beside(run: Run, cost: "Complexity", device: str) -> None:
    """Our row under the published ones."""
    rows = [["", "seconds", "parameters (M)", "on"]]
    for machine, methods in published.load("pure").tables["table4"].sets.items():
        for name, cells in methods.items():
            rows.append([name, *(cell.text if cell else "-" for cell in cells), machine])
    figures = f"{cost.seconds_per_image:.3g}", _millions(cost.parameters["total"])
    rows.append([run.label, *figures, f"{cost.size} px, {device}"])
    print()
    print_table(rows, figures=(1, 2))
    print(COUNTED)


def _millions(count: int) -> str:
    return f"{count / 1e6:.0f}" if count >= 100_000_000 else f"{count / 1e6:.3g}"
