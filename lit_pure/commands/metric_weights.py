"""`weights metrics`: lists and fetches the files that metrics read. Knows flags and what is printed."""

import argparse

from lit_pure.commands.parsing import print_table
from lit_pure.commands.paths import as_config_error
from lit_pure.config.compose import ConfigError
from lit_pure.metrics import files, protocols, table
from lit_pure.metrics.table import WeightsFile

METRICS = "metrics"
"""In place of an experiment's name."""
DIGITS = 12
"""Printed digits of a digest."""


def metric_weights(arguments: argparse.Namespace) -> int:
    """List the files that metrics read; without --list, fetch missing and damaged ones."""
    if arguments.overrides:
        raise ConfigError(
            f"{arguments.overrides[0]}: settings are for experiments; choose metrics with --metrics or --protocol"
        )
    readers: dict[WeightsFile, list[str]] = {}
    for key in _selected_metrics(arguments.metrics, arguments.protocol):
        for file in table.METRICS[key].files:
            readers.setdefault(file, []).append(key)
    if not readers:
        print("these metrics need no weights")
        return 0
    wanted = [] if arguments.list else [file for file in readers if files.state_of(file) != "present"]
    if len(wanted) > 1:
        print(
            f"{len(wanted)} of {len(readers)} files are missing or damaged; some have several 100 MB",
            flush=True,
        )
    problems: list[Exception] = []
    for file in wanted:
        try:
            print(f"fetched {files.fetch(file, arguments.folder)}", flush=True)
        except (OSError, ValueError) as error:  # continue with the other files
            problems.append(error)
    rows = [_row(file, keys) for file, keys in readers.items()]
    print_table([("metric", "file", "from", "state", "sha256", "where"), *rows])
    if problems:
        raise ValueError("\n".join(map(str, problems)))
    return 0


def _selected_metrics(metrics: list[str] | None, protocol: str | None) -> list[str]:
    """The selected metrics, each once."""
    if metrics is not None and protocol is not None:
        raise ConfigError("--metrics and --protocol both select metrics; give one of them")
    if protocol is not None:
        return list(protocols.protocol(protocol).metrics.values())
    with as_config_error("--metrics"):
        return [table.info_of(key).key for key in metrics or table.METRICS]


def _row(file: WeightsFile, keys: list[str]) -> tuple[str, ...]:
    state, path = files.state_of(file), files.path_of(file)
    source = file.url.split("/")[2] if file.url else f"package {file.place}"
    digest = "-" if state == "absent" else files.sha256(file)[:DIGITS]
    if state == "damaged":
        digest += f" instead of {file.sha256[:DIGITS]}"
    elif state == "present" and not file.sha256:
        digest += " (none published)"
    return ", ".join(keys), path.name, source, state, digest, str(path.parent)
