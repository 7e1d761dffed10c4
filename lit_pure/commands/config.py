"""`config`: a resolved experiment with every knob explained, or the schema that editors check YAML with.

Knows flags and where the text goes. Imports no torch, so that it answers at once.
"""

import argparse
from pathlib import Path

from lit_pure.commands.parsing import Subparsers, add, say
from lit_pure.commands.paths import require_writable_files
from lit_pure.config.compose import COMMAND_LINE, ConfigError, compose, files_of, named_sets
from lit_pure.config.experiment import Experiment
from lit_pure.files.atomic import write_whole


def arguments(commands: "Subparsers[argparse.ArgumentParser]") -> None:
    """Add the command."""
    command = add(commands, "config", config_command)
    command.add_argument("experiment", nargs="?", help="path below experiments/ without .yaml, for example demo")
    command.add_argument(
        "overrides", nargs="*", default=[], metavar="KEY=VALUE", help="for example trainer.max_steps=20"
    )
    schema = "print the JSON schema that editors check experiment files with; needs no experiment"
    command.add_argument("--schema", action="store_true", help=schema)
    command.add_argument("--out", type=Path, metavar="FILE", help="write to FILE instead of printing")


def config_command(arguments: argparse.Namespace) -> int:
    """Print a resolved experiment as YAML that loads again, with the meaning and the range of each knob."""
    read = files_of(arguments.experiment, arguments.overrides) if arguments.out and arguments.experiment else []
    require_writable_files({"--out": arguments.out}, read)
    text = _schema(arguments) if arguments.schema else _experiment(arguments)
    if arguments.out is None:
        say(text.rstrip())
    else:
        write_whole(arguments.out, text)
    return 0


def _experiment(arguments: argparse.Namespace) -> str:
    from lit_pure.config.annotated import annotated

    if arguments.experiment is None:
        raise ConfigError(f"{COMMAND_LINE}: name an experiment, for example demo; or use --schema")
    experiment = compose(arguments.experiment, arguments.overrides)
    return annotated(experiment, _left_out(experiment))


def _left_out(experiment: Experiment) -> list[str]:
    """Test sets of the base that the experiment leaves out."""
    below = named_sets(experiment.base) if experiment.base else []
    return sorted(set(below) - experiment.data.test.keys())


def _schema(arguments: argparse.Namespace) -> str:
    from lit_pure.config.schema import schema_text

    if arguments.experiment is not None:
        raise ConfigError(f"{COMMAND_LINE}: --schema covers all experiments; leave {arguments.experiment!r} out")
    return schema_text()
