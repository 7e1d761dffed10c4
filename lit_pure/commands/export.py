"""`export`: a checkpoint to weights in one file, or a finished run to one that can be passed on.

Knows flags, how a checkpoint is named, and what is printed.
"""

import argparse
import re
from pathlib import Path

from lit_pure.commands.parsing import Subparsers, add, add_settings
from lit_pure.commands.paths import require_writable_folder
from lit_pure.config.compose import COMMAND_LINE, ConfigError, save
from lit_pure.families.settings import settings_of
from lit_pure.families.table import family_of
from lit_pure.files.atomic import write_json
from lit_pure.runs import checkpoints, origin
from lit_pure.runs import folder as runs
from lit_pure.runs.checkpoints import FOLDER, Checkpoint
from lit_pure.runs.folder import Run


def arguments(commands: "Subparsers[argparse.ArgumentParser]") -> None:
    """Add the command."""
    command = add(commands, "export", export_command)
    command.add_argument(
        "source",
        metavar="RUN_OR_CHECKPOINT",
        help="a run, finished or not, whose newest complete checkpoint is exported, for example pure/nano; "
        "or a checkpoint, for example runs/pure/nano/version_0/checkpoints/step=00000500",
    )
    command.add_argument("out", type=Path, metavar="OUT", help="folder to write to; must not exist yet")
    command.add_argument(
        "--run",
        choices=DTYPES,
        help="export a finished run instead: its configuration, provenance, figures, and its weights in this dtype",
    )
    command.add_argument(
        "--blend",
        type=_blend,
        metavar="RUN=SHARE",
        help="with --run: the mean with the weights of another run of the same sizes, of which it takes this share; "
        "for example of one that was trained without an adversary",
    )
    add_settings(command, "with --run: settings of sampling and restoring to export it with")


DTYPES = ("float32", "float16", "bfloat16")
"""Numbers that a run's weights may be kept in."""
SUMMARY = "summary.json"
"""What makes a folder a finished run."""


def export_command(arguments: argparse.Namespace) -> int:
    """Write the weights of a checkpoint as one safetensors file: averaged weights if any, with merged adapters.

    With --run, write what is needed to use a finished run elsewhere: a folder below data/runs/NAME/shipped is used
    wherever run NAME is requested and missing.
    """
    out: Path = arguments.out
    if out.exists():
        raise ConfigError(f"{COMMAND_LINE}: {out} exists already; name another folder")
    require_writable_folder("OUT", out)
    if arguments.run:
        return _pass_on(runs.require(arguments.source), out, arguments.run, arguments.set, arguments.blend)
    if arguments.blend:
        raise ConfigError(f"{COMMAND_LINE}: --blend goes with --run; it takes the mean of finished runs")
    if arguments.set:
        raise ConfigError(f"{COMMAND_LINE}: --set {arguments.set[0]} goes with --run; a checkpoint has no settings")
    run, checkpoint = _found(arguments.source)
    family_of(run).check_export(run)
    from lit_pure.lit.export import export

    averaged = export(run, checkpoint.folder, out)
    origin.write(out, run)
    kind = "averaged weights" if averaged else "weights"
    print(f"{out}: the {kind} of {run.label} after step {checkpoint.step}")
    return 0


def _blend(text: str) -> tuple[str, float]:
    """The type of --blend: the name of a run, and a share between 0 and 1."""
    name, _, share = text.rpartition("=")
    if not (name and re.fullmatch(r"0?\.\d+", share) and 0 < float(share) < 1):
        raise argparse.ArgumentTypeError(f"{text!r} is no RUN=SHARE; give for example tokenizer/nano_photo=0.2")
    return name, float(share)


def _pass_on(run: Run, out: Path, dtype: str, given: list[str], blend: tuple[str, float] | None) -> int:
    """A finished run in few files, its weights rounded; the summary that makes it finished comes last."""
    settings = settings_of(run, given) if given else run.experiment()
    other = runs.require(blend[0]) if blend else None
    import torch

    from lit_pure.models import weights

    mixed = (other.weights, blend[1]) if other and blend else ()
    weights.save_rounded(run.weights, out / "weights", getattr(torch, dtype), *mixed)
    save(settings, out / "config.yaml")
    made = run.provenance() | ({"blended": {"run": other.label, "share": blend[1]}} if other and blend else {})
    write_json(out / "provenance.json", made)
    # What was measured was not the mean.
    write_json(out / SUMMARY, {key: value for key, value in run.summary().items() if not (other and "test/" in key)})
    size = sum(path.stat().st_size for path in out.rglob("*") if path.is_file()) / 1e6
    print(f"{out}: {run.label}, weights in {dtype}, {size:.1f} MB")
    return 0


def _found(source: str) -> tuple[Run, Checkpoint]:
    """A checkpoint and its run. Raises ConfigError where none is found."""
    if Path(source).absolute().parent.name == FOLDER:
        return _named(Path(source))
    name = source.rstrip("/").removeprefix(f"{runs.ROOT}/")
    known = runs.versions(name) if runs.experiment_of(name) == name else [Run(runs.ROOT / name)]
    for run in reversed(known):
        if checkpoint := checkpoints.newest(run.folder / FOLDER):
            return run, checkpoint
    if any(run.folder.is_dir() for run in known):
        raise ConfigError(f"{runs.ROOT / name} has no complete checkpoint; training writes them (trainer.save_every)")
    raise ConfigError(f"there is no run {runs.ROOT / name}; name one that was trained, or the folder of a checkpoint")


def _named(folder: Path) -> tuple[Run, Checkpoint]:
    """The checkpoint in a folder. Raises ConfigError naming those beside it where there is none."""
    checkpoint = checkpoints.read(folder)
    if checkpoint is None:
        beside = ", ".join(each.folder.name for each in checkpoints.complete(folder.parent)) or "none"
        wrong = "is not complete" if folder.is_dir() else "is missing"
        raise ConfigError(f"{folder} {wrong}; complete checkpoints beside it: {beside}")
    home = Path.cwd()
    run = folder.absolute().parents[1]
    return Run(run.relative_to(home) if run.is_relative_to(home) else run), checkpoint
