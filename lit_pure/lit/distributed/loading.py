"""Reads the files of a checkpoint, all processes together, into the tensors of model, optimizers and callbacks.

Knows the names of `saving.py`, and refuses the checkpoint of another model. Any number of processes may have written
it.

DCP reads `.metadata` as a pickle: resume only from checkpoints of people you trust. To share weights, use
`lit-pure export`.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.filesystem import FileSystemReader
from torch.distributed.checkpoint.metadata import TensorStorageMetadata
from torch.distributed.checkpoint.state_dict_loader import load
from torch.optim import Optimizer

from lit_pure.lit.distributed.saving import (
    MODEL,
    OPTIMIZER,
    TRAINING,
    Group,
    Shards,
    State,
    model_state,
    optimizer_state,
    parameter_names,
    part,
    reason,
    silence_dcp,
)
from lit_pure.runs import checkpoints

Stored = dict[str, TensorStorageMetadata]
"""Name of a tensor in a checkpoint -> shape and dtype."""
NAMED = 3
"""How many differences an error names."""
FAILURES = (CheckpointException, OSError, RuntimeError, ValueError, KeyError, IndexError, EOFError)
"""The errors that damaged files raise."""


def restore(
    folder: Path,
    module: nn.Module,
    optimizers: Sequence[Optimizer],
    shards: Iterable[Shards],
    strict: bool,
    group: Group,
) -> dict[str, Any]:
    """Read a checkpoint into its tensors; returns the rest.

    Args:
        folder: of a complete checkpoint.
        module: gets its parameters and buffers.
        optimizers: in their order; they get new states and the stored settings.
        shards: callbacks with their own tensors.
        strict: whether the checkpoint must have exactly the parameters and buffers of the module.
        group: the processes that read together.

    Raises:
        ValueError: the checkpoint is incomplete, damaged, or one of another model.
    """
    if checkpoints.read(folder) is None:
        raise ValueError(f"{folder} is not a complete checkpoint; name another one")
    stored = tensors(folder)
    state = _fitting(folder, MODEL, model_state(module), stored, strict)
    for number, optimizer in enumerate(optimizers):
        name = f"{OPTIMIZER}.{number}"
        _init_states(optimizer, module, {key.rpartition(".")[0] for key in _names_below(name, stored)})
        state |= _fitting(folder, name, optimizer_state(optimizer, module), stored, True)
    for each in shards:
        state |= _fitting(folder, each.shards_name, each.shards(), stored, True)
    fill(folder, state, group)
    training = _training(folder)
    for optimizer, settings in zip(optimizers, training["optimizers"], strict=False):
        _set_settings(optimizer, settings)
    return training


def tensors(folder: Path) -> Stored:
    """The tensors of a checkpoint. Raises ValueError if it cannot be read."""
    try:
        stored = FileSystemReader(folder).read_metadata().state_dict_metadata
    except Exception as error:  # a damaged pickle may raise any error
        raise _damaged(folder, error) from error
    return {name: item for name, item in stored.items() if isinstance(item, TensorStorageMetadata)}


def fill(folder: Path, state: State, group: Group = None) -> None:
    """Fill tensors with the checkpoint's tensors of the same names. Raises ValueError if they cannot be read."""
    silence_dcp()
    try:
        load(dict(state), storage_reader=FileSystemReader(folder), process_group=group, no_dist=group is None)
    except FAILURES as error:
        raise _damaged(folder, error) from error


def _training(folder: Path) -> dict[str, Any]:
    """Everything but the tensors."""
    try:
        training: dict[str, Any] = torch.load(folder / TRAINING, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged pickle may raise any error
        raise _damaged(folder, error) from error
    return training


def _damaged(folder: Path, error: BaseException) -> ValueError:
    return ValueError(f"{folder} cannot be read ({reason(error)}); remove it to resume from the one before")


def _names_below(name: str, stored: Stored) -> set[str]:
    """The names of the tensors of a part."""
    return {key.removeprefix(f"{name}.") for key in stored if key.startswith(f"{name}.")}


def _fitting(folder: Path, name: str, ours: State, stored: Stored, strict: bool) -> State:
    """Our tensors of a part that are to be read. Raises ValueError if names or shapes differ."""
    theirs = _names_below(name, stored)
    common = sorted(ours.keys() & theirs)
    found = [f"{key} is missing" for key in sorted(ours.keys() - theirs) if strict]
    found += [f"{key} is unknown here" for key in sorted(theirs - ours.keys()) if strict]
    for key in common:
        if (before := stored[f"{name}.{key}"].size) != (now := ours[key].size()):
            found.append(f"{key} has shape {tuple(before)}, not {tuple(now)}")
    if found:
        more = f" and {len(found) - NAMED} more" if len(found) > NAMED else ""
        raise ValueError(f"{folder} is a checkpoint of something else: {name}: {'; '.join(found[:NAMED])}{more}")
    return part(name, {key: ours[key] for key in common})


def _init_states(optimizer: Optimizer, module: nn.Module, wanted: set[str]) -> None:
    """Let an optimizer make its tensors for these parameters, with a step that changes nothing."""
    names, rates = parameter_names(module), [group["lr"] for group in optimizer.param_groups]
    parameters: list[Tensor] = [p for group in optimizer.param_groups for p in group["params"]]
    optimizer.state.clear()
    for p in parameters:
        p.grad = torch.zeros_like(p) if names[p] in wanted else None
    for group, rate in zip(optimizer.param_groups, rates, strict=True):
        group["lr"] = torch.zeros_like(rate) if isinstance(rate, Tensor) else 0.0
    optimizer.step()
    for group, rate in zip(optimizer.param_groups, rates, strict=True):
        group["lr"] = rate
    for p in parameters:
        p.grad = None


def _set_settings(optimizer: Optimizer, settings: Sequence[Mapping[str, Any]]) -> None:
    """Give an optimizer the stored settings; its tensors stay the same objects, with new values."""
    for group, before in zip(optimizer.param_groups, settings, strict=True):
        for key, value in before.items():
            if isinstance(group.get(key), Tensor):
                group[key].copy_(value)
            else:
                group[key] = value
