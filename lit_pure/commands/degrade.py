"""`degrade`: photographs to pairs of HQ and LQ pictures. Knows flags and what is printed."""

import argparse
import sys
from pathlib import Path
from typing import Any

from lit_pure.commands.parsing import Subparsers, add, add_settings, whole_number
from lit_pure.commands.paths import as_config_error, find_photographs
from lit_pure.commands.processes import add_processes, over_processes
from lit_pure.config.compose import COMMAND_LINE, ConfigError, degradation
from lit_pure.config.data import LEAST_LQ_SIDE, DegradationConfig
from lit_pure.degradation.pairs import plan_pairs, require_sources_stay
from lit_pure.files.work import ForEach

PRESET = "realesrgan"
"""What training uses by default."""


def arguments(commands: "Subparsers[argparse.ArgumentParser]") -> None:
    """Add the command."""
    command = add(commands, "degrade", degrade_command)
    command.add_argument("photos", nargs="+", type=Path, metavar="IN", help="a folder of photographs, or files")
    command.add_argument("out", type=Path, metavar="OUT", help="folder to write hq/ and lq/ to")
    command.add_argument(
        "--preset",
        default=PRESET,
        metavar="NAME",
        help=f"a file in data/degradation/, or the path of your own file (default: {PRESET})",
    )
    add_settings(command, "knobs that replace the preset's, for example jpeg_range=[50,90] second_blur_prob=0")
    number = whole_number(0)
    command.add_argument("--seed", type=number, default=0, metavar="N", help="of all random draws (default: 0)")
    command.add_argument("--scale", type=number, metavar="N", help="HQ side over LQ side (default: 4)")
    command.add_argument(
        "--size", type=number, metavar="PX", help="side of square HQ pictures (default: the whole photograph)"
    )
    command.add_argument(
        "--fit",
        choices=("crop", "resize"),
        default="crop",
        help="cut squares out of the photograph, or resize its shorter side to --size first, which enlarges a smaller "
        "photograph (default: crop)",
    )
    command.add_argument(
        "--crops",
        type=number,
        default=1,
        metavar="N",
        help="squares per photograph: the centre, then squares spread around it (default: 1)",
    )
    add_processes(command)


def degrade_command(arguments: argparse.Namespace) -> int:
    """Make a paired test set: OUT/hq/NAME.png, OUT/lq/NAME.png, and a record of each degradation.

    Without --size a pair shows the whole photograph, except for up to scale - 1 rows at the bottom and columns at the
    right, so that the scale divides its sides. As far as the paper says, its OST-Val is: --preset seesr --size 512
    --fit resize. A pair depends on the seed, the settings and the position of its photograph among all, sorted by name.
    An interrupted call is resumed by repeating it.
    """
    return over_processes(arguments, _degrade, on_cpu=True)


def _degrade(arguments: argparse.Namespace, each: ForEach) -> int:
    knobs = _checked(arguments)
    paths = find_photographs(arguments.photos)
    with as_config_error(COMMAND_LINE):
        pairs = plan_pairs(paths, arguments.crops, arguments.out)
        require_sources_stay(pairs, arguments.out, arguments.photos)
    from tqdm import tqdm

    from lit_pure.degradation.folder import DegradedPair, Recipe, contact_sheet, degrade_each
    from lit_pure.files.atomic import require_writable

    require_writable(arguments.out)
    recipe = Recipe(knobs, arguments.seed, arguments.size, arguments.crops, arguments.fit)
    outcomes: list[DegradedPair] = []
    bar: tqdm[Any] = tqdm(total=len(pairs), unit=" pairs", desc="degrading", file=sys.stderr, disable=None)

    def receive(outcome: DegradedPair) -> None:
        outcomes.append(outcome)
        bar.update()

    with bar:
        degrade_each(each, pairs, arguments.out, recipe, receive)
    outcomes.sort(key=lambda outcome: outcome.pair.index)
    for error in dict.fromkeys(outcome.error for outcome in outcomes if outcome.error):
        print(error)
    failed = sum(bool(outcome.error) for outcome in outcomes)
    before = sum(outcome.skipped for outcome in outcomes)
    already = f", {before} of them from an earlier call" if before else ""
    sheet = contact_sheet(arguments.out)
    look = f"; look at {sheet}" if sheet else ""
    print(f"{len(pairs) - failed} of {len(pairs)} pairs in {arguments.out}/hq and /lq{already}{look}")
    return 1 if failed else 0


def _checked(arguments: argparse.Namespace) -> DegradationConfig:
    """The knobs. Raises ConfigError for mistakes that show before a photograph is read."""
    scale = [f"scale={arguments.scale}"] if arguments.scale is not None else []
    knobs = degradation(arguments.preset, [*arguments.set, *scale])
    if arguments.size is None and (arguments.crops != 1 or arguments.fit != "crop"):
        raise ConfigError(f"{COMMAND_LINE}: --crops and --fit need --size: without it, a pair is the whole photograph")
    if arguments.size is not None and (arguments.size % knobs.scale or arguments.size == 0):
        near = max(1, round(arguments.size / knobs.scale)) * knobs.scale
        raise ConfigError(
            f"{COMMAND_LINE}: --size {arguments.size} is not a multiple of scale {knobs.scale}; try {near}"
        )
    if arguments.size is not None and arguments.size < (least := LEAST_LQ_SIDE * knobs.scale):
        raise ConfigError(
            f"{COMMAND_LINE}: --size {arguments.size} is too small at scale {knobs.scale}; give {least} or more"
        )
    if arguments.crops < 1:
        raise ConfigError(f"{COMMAND_LINE}: --crops {arguments.crops}: give 1 or more")
    if arguments.out.exists() and not arguments.out.is_dir():
        raise ConfigError(f"{COMMAND_LINE}: OUT {arguments.out} is a file; name a folder to write to, or a new one")
    if inside := [path for path in arguments.photos if path.resolve() == arguments.out.resolve()]:
        raise ConfigError(f"{COMMAND_LINE}: {inside[0]} cannot be both IN and OUT; name another folder to write to")
    return knobs
