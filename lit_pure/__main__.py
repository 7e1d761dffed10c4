"""The command line: `lit-pure COMMAND`, or `python -m lit_pure COMMAND`.

Knows arguments, what is printed and exit codes (0 done, 1 something failed, 2 a mistake in what was asked). Each
command is one function; torch is imported by those that need it, after everything that can be checked without it.
"""

import argparse
import logging
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

from lit_pure import runs
from lit_pure.config.compose import ConfigError, compose, grid
from lit_pure.config.schema import Experiment
from lit_pure.runs import MissingRun, Run

Command = Callable[[argparse.Namespace], int]


def run_command(arguments: argparse.Namespace) -> int:
    """Train and test one experiment."""
    experiment = compose(arguments.experiment, arguments.overrides)
    _check_needs(experiment)
    _run(experiment)
    return 0


def sweep_command(arguments: argparse.Namespace) -> int:
    """Run every variant of a sweep file, then compare them."""
    from lit_pure.report import overview, text

    variants: dict[str, Experiment] = {}
    for label, overrides in grid(arguments.experiment, arguments.overrides).items():
        variants[label] = compose(arguments.experiment, overrides)
        variants[label].name = f"{arguments.experiment}/{label}"
        _check_needs(variants[label])
    made = [_run(experiment) for experiment in variants.values()]
    print(f"\n{text(overview(made))}")
    return 0


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


def report_command(arguments: argparse.Namespace) -> int:
    """Print the table of finished runs."""
    from lit_pure.report import overview, text

    chosen = [runs.require(name) for name in arguments.runs] or runs.finished()
    if not chosen:
        print(f"no finished runs below {runs.ROOT}/; make one with: make exp NAME=demo")
        return 0
    print(text(overview(chosen)))
    return 0


def vocabulary_command(arguments: argparse.Namespace) -> int:
    """Make a vocabulary from captions."""
    from lit_pure.config.schema import LEVELS
    from lit_pure.datasets.captions import Sidecar
    from lit_pure.sequence.template import INSTRUCTIONS, degradation_sentence
    from lit_pure.tokens.text import make_vocabulary

    texts = [*Sidecar(arguments.captions).captions.values(), *INSTRUCTIONS.values()]
    texts += [degradation_sentence(blur, noise) for blur in LEVELS for noise in LEVELS]
    vocabulary = make_vocabulary(texts, arguments.codes, arguments.words)
    vocabulary.save(arguments.out)
    print(f"{arguments.out}: {vocabulary.size} ids, {vocabulary.codes} of them image codes")
    return 0


def parser() -> argparse.ArgumentParser:
    """All commands and their arguments."""
    top = argparse.ArgumentParser(prog="lit-pure", description="Autoregressive real-world image super-resolution.")
    top.add_argument("--traceback", action="store_true", help="show where in the code an error came from")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, function in (("run", run_command), ("sweep", sweep_command)):
        command = _add(commands, name, function)
        command.add_argument("experiment", help="path below experiments/ without .yaml, for example demo")
        command.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="for example trainer.max_steps=20")
    command = _add(commands, "restore", restore_command)
    command.add_argument("photos", nargs="+", type=Path, metavar="PHOTO", help="files or folders")
    command.add_argument("--run", default="demo", help="whose weights to use (default: demo)")
    command.add_argument("--out", type=Path, default=Path("restored"), help="folder to write to (default: restored)")
    command = _add(commands, "report", report_command)
    command.add_argument("runs", nargs="*", metavar="RUN", help="for example demo or demo/version_0 (default: all)")
    command = _add(commands, "vocabulary", vocabulary_command)
    command.add_argument("captions", type=Path, help='JSONL of {"caption": ...} to learn words from')
    command.add_argument("--codes", type=int, default=4096, help="image codes (default: 4096)")
    command.add_argument("--words", type=int, default=512, help="BPE words (default: 512)")
    command.add_argument("--out", type=Path, required=True, help="JSON to write")
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; mistakes are told in a line or two on standard error, without a traceback."""
    arguments = parser().parse_args(argv)
    _quiet_logs()
    command: Command = arguments.function
    try:
        return command(arguments)
    except (ConfigError, MissingRun) as error:
        print(error, file=sys.stderr)
        return 2
    except (ValueError, OSError, ImportError) as error:
        if arguments.traceback:
            raise
        print(f"error: {error}", file=sys.stderr)
        return 1
    except (KeyboardInterrupt, SystemExit):  # Lightning turns the first into the second
        print("stopped; what was finished stays, and nothing is built on an unfinished run", file=sys.stderr)
        return 130


def _run(experiment: Experiment) -> Run:
    """Run, then say where everything is."""
    from lit_pure.lit.build import run
    from lit_pure.report import comparison, text

    # Importing Lightning made it announce devices and tips; its warnings stay.
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    made = run(experiment, sys.argv)
    summary = made.summary()
    if "train/loss_last" in summary:
        first, last = summary["train/loss_first"], summary["train/loss_last"]
        print(f"\ntraining loss {first:.3f} -> {last:.3f} in {summary['steps']} steps")
    if any(key.startswith("test/") for key in summary):
        print(f"\n{text(comparison(made))}\n")
    for skipped in summary["skipped_photos"]:
        print(f"skipped: {skipped}")
    for picture in summary["pictures"]:
        print(f"picture: {picture}")
    print(f"run:     {made.folder}")
    print(f"look:    make board    (or: tensorboard --logdir {made.folder})")
    print("compare: make report")
    return made


def _check_needs(experiment: Experiment, before: tuple[str, ...] = ()) -> None:
    """Refuse at once what would fail after minutes: missing weights, needs that do not exist or go in a circle."""
    needs, chain = experiment.needs, (*before, experiment.name)
    if experiment.name in before:
        raise ConfigError(f"needs go in a circle: {' -> '.join(chain)}; let one of them name another run")
    if needs.weights:
        runs.require(needs.weights)
        return
    for need in (needs.tokenizer, needs.dem):
        if need and runs.newest_finished(need) is None:
            _check_needs(compose(need), chain)


def _add(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]", name: str, run: Command
) -> argparse.ArgumentParser:
    words = (run.__doc__ or "").strip()
    command = commands.add_parser(name, help=words, description=words)
    command.set_defaults(function=run)
    return command


def _quiet_logs() -> None:
    """Ours at INFO; of others only what needs attention."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    logging.getLogger("lit_pure").setLevel(logging.INFO)
    for known in ("many workers", "Experiment logs directory .* exists", "isinstance.treespec, LeafSpec"):
        warnings.filterwarnings("ignore", message=f".*{known}")


if __name__ == "__main__":
    sys.exit(main())
