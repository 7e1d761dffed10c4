"""`weights`: gets the weights that an experiment or metrics need. Knows flags and what is printed."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from lit_pure.commands.metric_weights import METRICS, metric_weights
from lit_pure.commands.parsing import Subparsers, add, comma_list, print_table
from lit_pure.config.compose import ConfigError, compose
from lit_pure.runs import folder as runs

if TYPE_CHECKING:
    from lit_pure.convert.fetch import Need

SHA = {"ok": "agrees", "unchecked": "not recorded", "damaged": "-", "absent": "-"}


def arguments(commands: "Subparsers[argparse.ArgumentParser]") -> None:
    """Add the command."""
    command = add(commands, "weights", weights_command)
    command.add_argument("experiment", help=f"experiment, for example pure/official; or {METRICS}")
    command.add_argument("overrides", nargs="*", default=[], metavar="KEY=VALUE", help="for example base=pure/official")
    command.add_argument(
        "--metrics", type=comma_list, metavar="KEY,...", help=f"with {METRICS}: which ones (default: all)"
    )
    command.add_argument("--protocol", metavar="NAME", help=f"with {METRICS}: those of a published protocol")
    command.add_argument(
        "--from",
        dest="folder",
        type=Path,
        metavar="FOLDER",
        help="folder with the files on this machine; no network is used",
    )
    command.add_argument("--list", action="store_true", help="only list: nothing is downloaded or written")


def weights_command(arguments: argparse.Namespace) -> int:
    """List, check, download and import the weights that an experiment needs, or that metrics read."""
    if arguments.folder is not None and not arguments.folder.is_dir():
        raise ValueError(f"--from {arguments.folder} is not a folder; name the one with the downloaded files")
    if arguments.experiment == METRICS:
        return metric_weights(arguments)
    if arguments.metrics is not None or arguments.protocol is not None:
        raise ConfigError(f"--metrics and --protocol are for `lit-pure weights {METRICS}`, without an experiment")
    experiment = compose(arguments.experiment, arguments.overrides)
    from lit_pure.convert.fetch import fetch, list_needs

    found = list_needs(experiment)
    made = [] if arguments.list else fetch(found, arguments.folder, sys.argv)
    for run in made:
        print(f"imported {run.folder}")
    if made:
        found = list_needs(experiment)
    if not found:
        print(f"{experiment.name} needs no weights: it is trained")
        return 0
    print_table([("what", "from", "state", "sha256", "where"), *map(_row, found)])
    for need in found:
        if need.note:
            print(f"{need.name}: {need.note}")
    ready = all(need.state in ("ok", "unchecked") for need in found)
    return 0 if ready or arguments.list else 1


def _row(need: "Need") -> tuple[str, ...]:
    if need.run:
        origin, where = str(need.run.summary().get("source", "training")), str(need.run.folder)
    else:
        source = need.experiment.source
        origin, where = f"{source.repo}@{source.revision}" if runs.is_published(need.experiment) else "training", "-"
    return need.name, origin, need.state, SHA[need.state], where
