"""Shell completion of commands, flags, experiments, runs, knobs and their values.

Knows which values an argument takes, by its name. Knows nothing of shells: argcomplete does, and starts `lit-pure` for
each completion. Imported for nothing else.
"""

import argparse
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import is_dataclass
from typing import Any

from lit_pure.config.annotated import text
from lit_pure.config.compose import ConfigError, compose, experiment_names, grid, is_sweep
from lit_pure.config.families import FAMILIES
from lit_pure.config.meanings import Knob, choices, knobs, remark
from lit_pure.runs import folder as runs

Completions = Iterable[str] | Mapping[str, str]
"""Complete words, which argcomplete filters by the typed prefix; or such words -> their meanings."""


def answer(parser: Callable[[list[str]], argparse.ArgumentParser]) -> None:
    """Complete the line that the shell gives, and exit.

    Args:
        parser: makes the parser for a command line, without the program's name.

    Raises:
        ImportError: argcomplete is not installed.
    """
    import argcomplete

    top = parser(os.environ["COMP_LINE"].split()[1:])
    for action in _actions(top):
        if action.choices is None and action.dest in COMPLETERS:
            action.completer = COMPLETERS[action.dest]  # type: ignore[attr-defined]
    argcomplete.autocomplete(top, always_complete_options=False)


def _actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """All arguments of a parser and of its sub-commands."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for below in action.choices.values():
                yield from _actions(below)
        else:
            yield action


def experiments(prefix: str, **_: object) -> Completions:
    """Experiments; after the name of a sweep and a slash, its variants."""
    sweep = prefix.rpartition("/")[0]
    return [f"{sweep}/{label}" for label in grid(sweep)] if sweep and is_sweep(sweep) else experiment_names()


def run_names(**_: object) -> Completions:
    """Finished runs, and experiments with finished runs, which mean the newest one."""
    shipped = [runs.Run(path.parent) for path in runs.SHIPPED_ROOT.rglob("summary.json")]
    labels = [run.label for run in [*runs.finished(), *shipped]]
    return sorted({name for label in labels for name in (label, runs.experiment_of(label))})


def overrides(prefix: str, parsed_args: argparse.Namespace, **_: object) -> Completions:
    """`KEY=` of each knob of the experiment on the line; after it the possible values."""
    found = _knobs_of(parsed_args.experiment)
    key, equals, typed = prefix.partition("=")
    if not equals:
        return {f"{dotted}=": remark(knob) for dotted, (knob, _) in found.items()}
    return [f"{key}={value}" for value in _values(key, typed, *found[key])] if key in found else []


def _values(key: str, typed: str, knob: Knob, value: Any) -> Completions:
    """The possible values of a knob, where they can be listed; else its current value."""
    if key == "base":
        return experiments(typed)
    if key.startswith("needs."):
        return run_names()
    if knob.hint is bool:
        return ["true", "false"]
    return [str(choice) for choice in choices(knob.hint)] or [text(value)]


def _knobs_of(name: str) -> dict[str, tuple[Knob, Any]]:
    """The knobs of an experiment with their values, by dotted key; those of all families where it cannot be read."""
    try:
        roots = [compose(name)]
    except ConfigError:
        roots = [kind() for kind in FAMILIES.values()]
    return {dotted: found for root in roots for dotted, found in _below(root, "")}


def _below(node: Any, prefix: str) -> Iterator[tuple[str, tuple[Knob, Any]]]:
    for knob in knobs(type(node)):
        value, dotted = getattr(node, knob.name), f"{prefix}{knob.name}"
        if is_dataclass(value):
            yield from _below(value, f"{dotted}.")
        elif isinstance(value, dict):
            for name, entry in value.items():
                yield from _below(entry, f"{dotted}.{name}.")
        else:
            yield dotted, (knob, value)


COMPLETERS: dict[str, Callable[..., Completions]] = {
    "experiment": experiments,
    "overrides": overrides,
    "run": run_names,
    "runs": run_names,
}
"""Completers by the name of an argument."""
