"""`restore`: photographs to restored photographs, with the weights of a run. Knows flags and what is printed."""

import argparse
import logging
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from lit_pure.commands.device import device
from lit_pure.commands.parsing import Subparsers, add, add_settings, say, whole_number
from lit_pure.commands.paths import as_config_error, find_photographs
from lit_pure.commands.processes import add_processes, over_processes
from lit_pure.config.compose import COMMAND_LINE
from lit_pure.config.data import LEAST_LQ_SIDE
from lit_pure.config.experiment import ColorFix, RestoringExperiment
from lit_pure.families.settings import FIX, settings_of
from lit_pure.files.work import ForEach
from lit_pure.runs import folder as runs
from lit_pure.runs.folder import Run

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tqdm import tqdm

    from lit_pure.restoring.folder import RestoredFile
    from lit_pure.restoring.photo import PhotoRestorer

LARGEST_SCALE = 16
"""Beyond, nothing of the photograph is left to restore from in a square of the model."""
MANY = 100
"""Squares from which on a photograph is announced."""
AT_ONCE = 0.2
"""What takes less than this was drawn before [s]."""
log = logging.getLogger(__name__)
RUN = "pure/nano_photo"
"""Whose weights restore where none are named."""


def arguments(commands: "Subparsers[argparse.ArgumentParser]") -> None:
    """Add the command."""
    command = add(commands, "restore", restore_command)
    command.add_argument("photos", nargs="+", type=Path, metavar="PHOTO", help="files or folders")
    command.add_argument(
        "--run", default=RUN, help=f"whose weights to use (default: {RUN}, which ship with the project)"
    )
    command.add_argument("--out", type=Path, default=Path("restored"), help="folder to write to (default: restored)")
    command.add_argument(
        "--scale",
        type=whole_number(1, LARGEST_SCALE),
        metavar="N",
        help=f"enlarge each side N times, 1 to {LARGEST_SCALE} (default: what the run was trained for)",
    )
    command.add_argument(
        "--color-fix",
        choices=get_args(ColorFix),
        help=f"source of the colours: the model (none), the photograph's low frequencies (wavelet), or its mean and "
        f"contrast (adain) (default: {FIX}, the best to look at)",
    )
    command.add_argument("--batch", type=int, metavar="N", help="squares restored at once; memory grows with it")
    add_settings(command, "settings of sampling and restoring, for example sampling.k_max=500 restoring.overlap=0.25")
    add_max_size(command)
    command.add_argument("--again", action="store_true", help="also restore photographs that are already restored")
    add_processes(command, " that each restore whole photographs; restoring.workers share the squares of one")


def add_max_size(command: argparse.ArgumentParser) -> None:
    """Add the flag that bounds the time a large photograph takes."""
    command.add_argument(
        "--max-size",
        type=whole_number(LARGEST_SCALE * LEAST_LQ_SIDE),
        metavar="PX",
        help="longest side of a result; photographs that would exceed it are made smaller first (default: any)",
    )


def restore_command(arguments: argparse.Namespace) -> int:
    """Restore photographs of any size with the weights of a run."""
    return over_processes(arguments, _restore)


def _restore(arguments: argparse.Namespace, each: ForEach) -> int:
    run = runs.require(arguments.run)
    settings = _settings(run, arguments)
    paths = find_planned(arguments)
    from lit_pure.files.atomic import require_writable

    require_writable(arguments.out)
    # A run made again under the same name is another one.
    origin = f"{run.label}, {run.provenance().get('started', '')}"
    todo: dict[str, Any] = {
        "scale": arguments.scale,
        "origin": origin,
        "again": arguments.again,
        "max_size": arguments.max_size,
    }
    if not each.alone:
        _warn_of_scale(run.label, settings.data.degradation.scale, arguments.scale)
        return _restore_over(each, partial(_restoring, run=run, settings=settings, **todo), paths, arguments)
    from lit_pure.families.table import restorer_of
    from lit_pure.restoring.shared import shared
    from lit_pure.restoring.tiled import BySquares

    restorer = restorer_of(run, settings).to(device())
    _warn_of_scale(run.label, restorer.scale, arguments.scale)
    with shared(restorer) as restorer:
        return restore_all(BySquares(restorer), paths, arguments.out, "tokens", **todo)


def _warn_of_scale(label: str, learned: int, asked: int | None) -> None:
    if asked not in (None, learned):
        log.warning(
            "%s learned to enlarge %d times: at --scale %d it may draw anew what the photograph has sharp already, "
            "or leave blurred what it has not; look at the result before you keep it",
            *(label, learned, asked),
        )


def find_planned(arguments: argparse.Namespace) -> list[Path]:
    """The photographs; raises ConfigError where what is written to --out would replace one, or another's picture."""
    from lit_pure.restoring.outputs import plan_restorations

    paths = find_photographs(arguments.photos)
    with as_config_error(f"{COMMAND_LINE}: --out {arguments.out}"):
        plan_restorations(paths, arguments.out, arguments.photos, again=arguments.again)
    return paths


def restore_all(restorer: "PhotoRestorer", paths: "Sequence[Path]", out: Path, unit: str, **options: Any) -> int:
    """Restore files under a bar that counts `unit`, and say what became of each; the exit code.

    `options` are those of `restore_files`.
    """
    from tqdm import tqdm

    from lit_pure.restoring.folder import restore_files

    outcomes: list[RestoredFile] = []
    bar: tqdm[Any] = tqdm(unit=f" {unit}", desc="restoring", file=sys.stderr, disable=None)
    with bar:

        def progress(path: Path) -> Bar:
            bar.reset()
            bar.set_description(path.name)
            return Bar(bar, path.name)

        for outcome in restore_files(restorer, paths, out, progress, **options):
            outcomes.append(outcome)
            _tell(outcome, bar)
    return _conclude(outcomes, out)


def _restore_over(each: ForEach, work: Any, paths: "Sequence[Path]", arguments: argparse.Namespace) -> int:
    """Restore photographs in several processes, under a bar that counts them; the exit code."""
    from tqdm import tqdm

    from lit_pure.restoring.folder import remove_unfinished
    from lit_pure.restoring.outputs import plan_restorations

    out = arguments.out
    named = list(zip(paths, plan_restorations(paths, out, again=arguments.again), strict=True))
    outcomes: list[RestoredFile] = []
    bar: tqdm[Any] = tqdm(total=len(paths), unit=" photos", desc="restoring", file=sys.stderr, disable=None)

    def receive(number: int, outcome: "RestoredFile") -> None:
        outcomes.append(outcome)
        bar.update()
        _tell(outcome, bar)

    with bar:
        each(partial(work, out=out), named, receive)
    remove_unfinished(out)
    return _conclude(outcomes, out)


@contextmanager
def _restoring(
    device: Any,
    *,
    run: Run,
    settings: RestoringExperiment,
    out: Path,
    scale: int | None,
    **how: Any,
) -> "Iterator[Callable[[tuple[Path, str]], RestoredFile]]":
    """Gives what restores a photograph, by its path and the name of its picture: one process has one thread for it."""
    from lit_pure.families.table import restorer_of
    from lit_pure.restoring.folder import Making, restore_file
    from lit_pure.restoring.shared import shared
    from lit_pure.restoring.tiled import BySquares

    restorer = restorer_of(run, settings).to(device)
    making = Making(out, restorer.scale if scale is None else scale, **how)
    with shared(restorer, workers=1) as squares:
        yield lambda photo: restore_file(BySquares(squares), *photo, making, lambda path: None)


def _tell(outcome: "RestoredFile", bar: "tqdm[Any]") -> None:
    with bar.external_write_mode(file=sys.stdout):
        print(": ".join(str(part) for part in (outcome.picture, outcome.note) if part))


class Bar:
    """One photograph on a bar: how many tokens or parts, how many per second, time left.

    Of a large one it says before what is made, and after the first batch how long that takes.
    """

    def __init__(self, bar: "tqdm[Any]", name: str) -> None:
        self.bar, self.name = bar, name
        self._told, self._made = True, 0
        self._before = 0, 0.0
        """Tokens and time [s] when the bar was planned last."""

    def begin(self, height: int, width: int, squares: int) -> None:
        """Say what is made, if that takes many squares."""
        if squares >= MANY:
            self._say(f"{self.name}: to {width} x {height} px, in {squares:,} squares")
            self._told = False

    def plan(self, tokens: int) -> None:
        """What the bar ends at."""
        self.bar.total = tokens
        self.bar.refresh()
        made, seconds = self._made - self._before[0], time.monotonic() - self._before[1]
        # What an earlier call has drawn comes at once, and says nothing of how long the rest takes.
        if not self._told and self._before[1] and seconds > AT_ONCE and made:
            self._told = True
            left = self.bar.format_interval((tokens - self._made) * seconds / made)
            self._say(f"{self.name}: about {left} to go; if it is stopped, the same command goes on from there")
        self._before = self._made, time.monotonic()

    def __call__(self, made: int) -> None:
        """Go on."""
        self._made += made  # a bar without a terminal does not count
        self.bar.update(made)

    def _say(self, words: str) -> None:
        with self.bar.external_write_mode(file=sys.stdout):
            say(words)


def _conclude(outcomes: "list[RestoredFile]", out: Path) -> int:
    """Say what was done; the exit code."""
    failed = sum(outcome.picture is None for outcome in outcomes)
    before = sum(outcome.skipped for outcome in outcomes)
    already = f", {before} of them from an earlier call" if before else ""
    print(f"{len(outcomes) - failed} of {len(outcomes)} restored to {out}{already}")
    return 1 if failed else 0


def _settings(run: Run, arguments: argparse.Namespace) -> RestoringExperiment:
    """The run's experiment with the flags laid over it. Raises ConfigError."""
    flags = {"restoring.color_fix": arguments.color_fix, "restoring.batch": arguments.batch}
    return settings_of(run, [*arguments.set, *(f"{key}={value}" for key, value in flags.items() if value is not None)])
