"""A checkpoint's files, read by all processes together into the tensors of model, optimizers and callbacks.

Knows the names of `saving.py` and refuses what is of another model. Knows nothing of who wrote it: as many processes as
now, or another number.

DCP reads `.metadata` as a pickle: go on only from checkpoints of people you trust. `lit-pure export` makes what can be
passed on.
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
    quiet,
    reason,
)
from lit_pure.runs import checkpoints

Stored = dict[str, TensorStorageMetadata]
"""Names of a checkpoint's tensors -> shapes and dtypes."""
NAMED = 3
"""Differences of a checkpoint that are named."""
FAILURES = (CheckpointException, OSError, RuntimeError, ValueError, KeyError, IndexError, EOFError)
"""What damaged files raise."""


def restore(
    folder: Path,
    module: nn.Module,
    optimizers: Sequence[Optimizer],
    shards: Iterable[Shards],
    strict: bool,
    group: Group,
) -> dict[str, Any]:
    """Read a checkpoint into the tensors that it is for; returns the rest.

    Args:
        folder: of a complete checkpoint.
        module: whose parameters and buffers are read.
        optimizers: in their order; what they know of parameters is made anew, their settings are those of then.
        shards: callbacks with tensors of their own.
        strict: whether the checkpoint must have the parameters and buffers of the module, and no others.
        group: who reads.

    Raises:
        ValueError: it is no complete checkpoint, or damaged, or one of another model.
    """
    if checkpoints.read(folder) is None:
        raise ValueError(f"{folder} is no complete checkpoint; name another one")
    stored = tensors(folder)
    state = _fitting(folder, MODEL, model_state(module), stored, strict)
    for number, optimizer in enumerate(optimizers):
        name = f"{OPTIMIZER}.{number}"
        _begin_states(optimizer, module, {key.rpartition(".")[0] for key in _below(name, stored)})
        state |= _fitting(folder, name, optimizer_state(optimizer, module), stored, True)
    for each in shards:
        state |= _fitting(folder, each.shards_name, each.shards(), stored, True)
    fill(folder, state, group)
    training = _training(folder)
    for optimizer, settings in zip(optimizers, training["optimizers"], strict=False):
        _set(optimizer, settings)
    return training


def tensors(folder: Path) -> Stored:
    """What tensors a checkpoint has. Raises ValueError where it cannot be read."""
    try:
        stored = FileSystemReader(folder).read_metadata().state_dict_metadata
    except Exception as error:  # a damaged pickle raises anything
        raise _damaged(folder, error) from error
    return {name: item for name, item in stored.items() if isinstance(item, TensorStorageMetadata)}


def fill(folder: Path, state: State, group: Group = None) -> None:
    """Fill tensors with those of a checkpoint of the same names. Raises ValueError where these cannot be read."""
    quiet()
    try:
        load(dict(state), storage_reader=FileSystemReader(folder), process_group=group, no_dist=group is None)
    except FAILURES as error:
        raise _damaged(folder, error) from error


def _training(folder: Path) -> dict[str, Any]:
    """All but the tensors."""
    try:
        training: dict[str, Any] = torch.load(folder / TRAINING, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged pickle raises anything
        raise _damaged(folder, error) from error
    return training


def _damaged(folder: Path, error: BaseException) -> ValueError:
    return ValueError(f"{folder} cannot be read ({reason(error)}); remove it to go on from the one before")


def _below(name: str, stored: Stored) -> set[str]:
    """Names of the tensors of a part."""
    return {key.removeprefix(f"{name}.") for key in stored if key.startswith(f"{name}.")}


def _fitting(folder: Path, name: str, ours: State, stored: Stored, strict: bool) -> State:
    """Those of our tensors of a part that are to be read. Raises ValueError where names or shapes are others."""
    theirs = _below(name, stored)
    common = sorted(ours.keys() & theirs)
    found = [f"{key} is missing" for key in sorted(ours.keys() - theirs) if strict]
    found += [f"{key} is unknown here" for key in sorted(theirs - ours.keys()) if strict]
    for key in common:
        if (before := stored[f"{name}.{key}"].size) != (now := ours[key].size()):
            found.append(f"{key} is of shape {tuple(before)}, not {tuple(now)}")
    if found:
        more = f" and {len(found) - NAMED} more" if len(found) > NAMED else ""
        raise ValueError(f"{folder} is a checkpoint of something else: {name}: {'; '.join(found[:NAMED])}{more}")
    return part(name, {key: ours[key] for key in common})


def _begin_states(optimizer: Optimizer, module: nn.Module, wanted: set[str]) -> None:
    """Let an optimizer make its tensors for these parameters, by a step that changes nothing."""
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


def _set(optimizer: Optimizer, settings: Sequence[Mapping[str, Any]]) -> None:
    """Give an optimizer the settings of then; tensors among them stay its own, with new values."""
    for group, before in zip(optimizer.param_groups, settings, strict=True):
        for key, value in before.items():
            if isinstance(group.get(key), Tensor):
                group[key].copy_(value)
            else:
                group[key] = value
