"""A checkpoint's files, written by all processes together through torch.distributed.checkpoint (DCP).

Knows what a checkpoint holds and under which names; those are the same however many processes there are, and however
they share the tensors, so that each reads what another wrote (`loading.py`). Knows nothing of when to save, nor which
checkpoints stay (`checkpoints.py`).

    __0_0.distcp ...   tensors, by the process that wrote them; `.metadata` says which are where
    training.pt        loops, callbacks, schedule, data module: numbers, words and small tensors
    complete.json      the mark; written once everything else is on the disk

    model.NAME                    trained parameters and buffers, as in the state dict of the LightningModule
    optimizer.NUMBER.NAME.STATE   what optimizer NUMBER knows of parameter NAME, for example exp_avg
    SHARDS_NAME.NAME              what a callback with `Shards` has
"""

import json
import os
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, distributed, nn
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.filesystem import FileSystemWriter
from torch.distributed.checkpoint.state_dict_saver import save
from torch.optim import Optimizer

from lit_pure.files.atomic import write_whole
from lit_pure.runs import checkpoints

TRAINING, METADATA = "training.pt", ".metadata"
MODEL, OPTIMIZER = "model", "optimizer"
Group = distributed.ProcessGroup | None
"""Processes that write or read together, on the CPU (gloo); None is one process alone."""
State = dict[str, Tensor]
"""Names -> tensors; what is cut into pieces is a DTensor."""


@runtime_checkable
class Shards(Protocol):
    """A callback that has tensors to be saved and loaded together with model and optimizer."""

    shards_name: str
    """What its tensors are called by; a word of its own."""

    def shards(self) -> dict[str, Tensor]:
        """The tensors by name; loading writes into them, before `load_state_dict`.

        Pieces of something larger are DTensors: a plain tensor is taken to be the same on all processes.
        """
        ...


@dataclass(frozen=True)
class Wish:
    """What a checkpoint is marked with, and what follows on the first process once it is complete."""

    score: float | None = None
    """Its val/loss."""
    then: Callable[[], object] = lambda: None


@dataclass(frozen=True)
class Contents:
    """What is to be written: copies in main memory, which training no longer touches."""

    state: State
    training: dict[str, Any]
    mark: dict[str, Any]


def model_state(module: nn.Module) -> State:
    """Trained parameters, and buffers, the module's own tensors. Raises ValueError for others in its state dict.

    What is frozen does not change: who goes on has it from where it came from at first (`needs.start`).
    """
    frozen = {name for name, item in module.named_parameters() if not item.requires_grad}
    state = {name: item for name, item in module.state_dict().items() if name not in frozen}
    if others := [name for name, value in state.items() if not isinstance(value, Tensor)]:
        raise ValueError(f"a checkpoint cannot hold {', '.join(others)}: only tensors; leave it out of the state dict")
    return state


def optimizer_state(optimizer: Optimizer, module: nn.Module) -> State:
    """What an optimizer knows of each parameter, its own tensors, as NAME.STATE; nothing of those it never changed."""
    names = parameter_names(module)
    return {f"{names[p]}.{key}": value for p, known in optimizer.state.items() for key, value in known.items()}


def optimizer_settings(optimizer: Optimizer) -> list[dict[str, Any]]:
    """Learning rate, decay and the like of each group of parameters."""
    return [{key: value for key, value in group.items() if key != "params"} for group in optimizer.param_groups]


def parameter_names(module: nn.Module) -> dict[Tensor, str]:
    """What parameters are called in the state dict, also where modules are wrapped; of several names the first."""
    found = module.state_dict(keep_vars=True).items()
    return {value: name for name, value in reversed(list(found)) if isinstance(value, nn.Parameter)}


def part(name: str, state: Mapping[str, Tensor]) -> State:
    """A part of a checkpoint's tensors: NAME.KEY."""
    return {f"{name}.{key}": value for key, value in state.items()}


def copied(tensor: Tensor) -> Tensor:
    """A copy in main memory; of a subclass (DTensor, torchao's 8 bit states), of all tensors that it is made of."""
    if hasattr(type(tensor), "__tensor_flatten__"):
        whole: Any = tensor
        names, context = whole.__tensor_flatten__()
        parts = {name: getattr(whole, name) for name in names}
        inner = {name: copied(each) if isinstance(each, Tensor) else each for name, each in parts.items()}
        return type(whole).__tensor_unflatten__(inner, context, whole.size(), whole.stride())
    return tensor.detach().to("cpu", copy=True)


def plain(value: Any, where: str) -> Any:
    """A copy of numbers, words, tensors, and lists and dicts of these. Raises ValueError naming what is none."""
    if isinstance(value, Tensor):
        return copied(value)
    if isinstance(value, Mapping):
        return {key: plain(each, f"{where}.{key}" if where else str(key)) for key, each in value.items()}
    if isinstance(value, list | tuple):
        items = [plain(each, f"{where}.{place}") for place, each in enumerate(value)]
        return tuple(items) if isinstance(value, tuple) else items
    if value is None or type(value) in (bool, int, float, str, bytes):
        return value
    raise ValueError(
        f"a checkpoint cannot hold {where}: it is a {type(value).__name__}; "
        "let state_dict() give numbers, words, tensors, and lists and dicts of these"
    )


def write(folder: Path, contents: Contents, then: Callable[[], object], group: Group) -> str:
    """Write a checkpoint, all processes together; returns what went wrong, the same on all of them, or "".

    What cannot be completed is removed again.
    """
    first = group is None or distributed.get_rank() == 0
    try:
        problem = _written(folder, contents.state, group)
        sizes = _sizes(folder, group)
        if first and not problem:
            problem = _completed(folder, contents, sizes)
        outcome = _of_first(problem, group)
    except Exception as error:  # one of the processes is gone
        outcome = reason(error)
    if first:
        try:
            checkpoints.remove(folder) if outcome else then()
        except OSError as error:
            outcome = outcome or f"it is, but older ones cannot be removed: {reason(error)}"
    return outcome


def reason(error: BaseException) -> str:
    """An error in a line; of those of several processes, the first."""
    if isinstance(error, CheckpointException) and error.failures:
        rank, (inner, _) = min(error.failures.items(), key=lambda failure: failure[0])
        return f"process {rank}: {reason(inner)}"
    if isinstance(error, RuntimeError) and isinstance(error.__context__, OSError):
        return reason(error.__context__)  # where a disk is full, torch's writer tells that it is not where it should be
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}: {error.filename}" if error.filename else error.strerror
    return " ".join(str(error).split())[:200] or type(error).__name__


def quiet() -> None:
    """One process alone is meant; DCP would say so each time."""
    warnings.filterwarnings("ignore", message="torch.distributed is disabled")


def _written(folder: Path, state: State, group: Group) -> str:
    """Write the tensors; what went wrong on any process."""
    if group is None or distributed.get_rank() == 0:
        checkpoints.remove(folder)  # what was written there for this step before
    if group is not None:
        distributed.barrier(group)
    # Nothing is ahead to be copied from a device: DCP would bring up the first GPU in each process for it.
    writer = FileSystemWriter(folder, per_thread_copy_ahead=0)
    quiet()
    try:
        save(state, storage_writer=writer, process_group=group, no_dist=group is None)
    except (CheckpointException, OSError, RuntimeError) as error:  # the same on all processes
        return reason(error) if group is not None else reason(error).removeprefix("process 0: ")
    return ""


def _sizes(folder: Path, group: Group) -> dict[str, int]:
    """The files with tensors; each process is asked for its own, because file systems in a network tell others late."""
    rank = 0 if group is None else distributed.get_rank()
    found: list[dict[str, int]] = [{file.name: file.stat().st_size for file in folder.glob(f"__{rank}_*")}]
    if group is not None:
        mine, found = found[0], [{} for _ in range(distributed.get_world_size())]
        distributed.all_gather_object(found, mine, group=group)
    return {name: size for each in found for name, size in each.items()}


def _completed(folder: Path, contents: Contents, sizes: Mapping[str, int]) -> str:
    """Write what the first process alone writes, last of all the mark; what went wrong."""
    try:
        with (folder / TRAINING).open("wb") as file:
            torch.save(contents.training, file)
            file.flush()
            os.fsync(file.fileno())
        alone = {name: (folder / name).stat().st_size for name in (TRAINING, METADATA)}
        _sync(folder)
        mark = json.dumps(contents.mark | {"files": {**sizes, **alone}}, indent=2)
        write_whole(folder / checkpoints.COMPLETE, mark + "\n")
        _sync(folder)
        _sync(folder.parent)
    except (OSError, RuntimeError) as error:
        return reason(error)
    return ""


def _of_first(problem: str, group: Group) -> str:
    """What the first process found, on all of them."""
    told = [problem]
    if group is not None:
        distributed.broadcast_object_list(told, src=0, group=group)
    return told[0]


def _sync(folder: Path) -> None:
    """Bring the names in a folder to the disk."""
    opened = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
