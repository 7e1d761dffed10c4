"""Callbacks that an experiment names (`trainer.callbacks`): from words to objects.

Knows how to import a class and to call it, and which callbacks of Lightning ours stand in for. Knows none by name.
"""

import difflib
import sys
from collections.abc import Sequence
from importlib import import_module

from lightning import Callback
from lightning.pytorch.callbacks import Checkpoint

from lit_pure.config.calls import Call
from lit_pure.config.compose import ConfigError
from lit_pure.runs.check import search_path

KNOB = "trainer.callbacks"


def make_callbacks(calls: Sequence[Call]) -> list[Callback]:
    """The callbacks. Raises ConfigError for one that cannot be imported or called, or is none."""
    sys.path[:] = search_path()
    return [_make(call) for call in calls]


def _make(call: Call) -> Callback:
    kind = _class(call)
    if issubclass(kind, Checkpoint):
        raise ConfigError(f"{KNOB}: {call.dotted} saves checkpoints, as every run does; set trainer.save_every instead")
    try:
        return kind(**call.arguments)
    except Exception as error:  # whatever a class of somebody else raises
        raise ConfigError(f"{KNOB}: {call.dotted} cannot be made: {error}") from error


def _class(call: Call) -> type[Callback]:
    try:
        module = import_module(call.module)
    except Exception as error:  # a module of somebody else may raise anything
        raise ConfigError(f"{KNOB}: {call.module} cannot be imported: {error}") from error
    found = getattr(module, call.name, None)
    if isinstance(found, type) and issubclass(found, Callback):
        return found
    if found is not None:
        raise ConfigError(f"{KNOB}: {call.dotted} is no subclass of lightning.Callback; name one")
    near = difflib.get_close_matches(call.name, dir(module), n=1, cutoff=0.6)
    hint = f"did you mean {near[0]}?" if near else "name a class in it"
    raise ConfigError(f"{KNOB}: {call.module} has no {call.name}; {hint}")
