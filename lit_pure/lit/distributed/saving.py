"""Writes the files of a checkpoint, all processes together, with torch.distributed.checkpoint (DCP).

Knows what a checkpoint holds, and the names of its tensors. The names do not depend on the number of processes or on
how they share the tensors, so that any launch reads what another one wrote (`loading.py`). Knows nothing of when to
save, or which checkpoints to keep (`runs/checkpoints.py`).

    __0_0.distcp ...   tensors, by the process that wrote them; `.metadata` says which are where
    training.pt        loops, callbacks, schedule, data module: numbers, strings and small tensors
    complete.json      the mark; written once everything else is on the disk

    model.NAME                    trained parameters and buffers, as in the state dict of the LightningModule
    optimizer.NUMBER.NAME.STATE   the state of parameter NAME in optimizer NUMBER, for example exp_avg
    SHARDS_NAME.NAME              the tensors of a callback with `Shards`
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
from lit_pure.lit.distributed.processes import gather_objects
from lit_pure.runs import checkpoints

TRAINING, METADATA = "training.pt", ".metadata"
MODEL, OPTIMIZER = "model", "optimizer"
Group = distributed.ProcessGroup | None
"""Processes that write or read together, on the CPU (gloo); None is one process alone."""
State = dict[str, Tensor]
"""Name -> tensor; a sharded one is a DTensor."""


@runtime_checkable
class Shards(Protocol):
    """A callback with tensors that are saved and loaded together with model and optimizer."""

    shards_name: str
    """The prefix of its tensors in checkpoints; no other callback has the same."""

    def shards(self) -> dict[str, Tensor]:
        """The tensors by name; loading writes into them, before `load_state_dict`.

        Shards are DTensors: a plain tensor must be the same on all processes.
        """
        ...


@dataclass(frozen=True)
class SaveOptions:
    """What to note in the mark of a checkpoint, and what the first process does once it is complete."""

    score: float | None = None
    """Its val/loss."""
    then: Callable[[], object] = lambda: None


@dataclass(frozen=True)
class Contents:
    """The contents of a checkpoint: copies in main memory, which training does not change."""

    state: State
    training: dict[str, Any]
    mark: dict[str, Any]


def model_state(module: nn.Module) -> State:
    """The trained parameters and the buffers of a module, not copied. Raises ValueError for anything but tensors.

    Frozen parameters do not change: a resumed training reads them from where they first came (`needs.start`).
    """
    frozen = {name for name, item in module.named_parameters() if not item.requires_grad}
    state = {name: item for name, item in module.state_dict().items() if name not in frozen}
    if wrong := [name for name, value in state.items() if not isinstance(value, Tensor)]:
        raise ValueError(f"a checkpoint cannot hold {', '.join(wrong)}: only tensors; leave it out of the state dict")
    return state


def optimizer_state(optimizer: Optimizer, module: nn.Module) -> State:
    """The optimizer's tensors for each parameter as NAME.STATE, not copied; none for parameters it never changed."""
    names = parameter_names(module)
    return {f"{names[p]}.{key}": value for p, known in optimizer.state.items() for key, value in known.items()}


def optimizer_settings(optimizer: Optimizer) -> list[dict[str, Any]]:
    """Learning rate, weight decay and so on of each parameter group."""
    return [{key: value for key, value in group.items() if key != "params"} for group in optimizer.param_groups]


def parameter_names(module: nn.Module) -> dict[Tensor, str]:
    """The names of parameters in the state dict, also of wrapped modules; of several names the first."""
    found = module.state_dict(keep_vars=True).items()
    return {value: name for name, value in reversed(list(found)) if isinstance(value, nn.Parameter)}


def part(name: str, state: Mapping[str, Tensor]) -> State:
    """The tensors of a part of a checkpoint, named NAME.KEY."""
    return {f"{name}.{key}": value for key, value in state.items()}


def copy_to_cpu(tensor: Tensor) -> Tensor:
    """A copy in main memory; a subclass (DTensor, torchao's 8-bit states) is copied with all its inner tensors."""
    if hasattr(type(tensor), "__tensor_flatten__"):
        whole: Any = tensor
        names, context = whole.__tensor_flatten__()
        parts = {name: getattr(whole, name) for name in names}
        inner = {name: copy_to_cpu(each) if isinstance(each, Tensor) else each for name, each in parts.items()}
        return type(whole).__tensor_unflatten__(inner, context, whole.size(), whole.stride())
    return tensor.detach().to("cpu", copy=True)


def copy_plain(value: Any, where: str) -> Any:
    """A copy of numbers, strings, tensors, and lists and dicts of these. Raises ValueError naming anything else."""
    if isinstance(value, Tensor):
        return copy_to_cpu(value)
    if isinstance(value, Mapping):
        return {key: copy_plain(each, f"{where}.{key}" if where else str(key)) for key, each in value.items()}
    if isinstance(value, list | tuple):
        items = [copy_plain(each, f"{where}.{index}") for index, each in enumerate(value)]
        return tuple(items) if isinstance(value, tuple) else items
    if value is None or type(value) in (bool, int, float, str, bytes):
        return value
    raise ValueError(
        f"a checkpoint cannot hold {where}: it is a {type(value).__name__}; "
        "let state_dict() return numbers, strings, tensors, and lists and dicts of these"
    )


def write(folder: Path, contents: Contents, then: Callable[[], object], group: Group) -> str:
    """Write a checkpoint, all processes together; returns the problem, the same on all of them, or "".

    An incomplete checkpoint is removed.
    """
    first = group is None or distributed.get_rank() == 0
    try:
        problem = _write_tensors(folder, contents.state, group)
        sizes = _sizes(folder, group)
        if first and not problem:
            problem = _complete(folder, contents, sizes)
        outcome = _broadcast(problem, group)
    except Exception as error:  # one of the processes is lost
        outcome = reason(error)
    if first:
        try:
            checkpoints.remove(folder) if outcome else then()
        except OSError as error:
            outcome = outcome or f"it is complete, but older ones cannot be removed: {reason(error)}"
    return outcome


def reason(error: BaseException) -> str:
    """An error in one line; of errors of several processes, the first."""
    if isinstance(error, CheckpointException) and error.failures:
        rank, (inner, _) = min(error.failures.items(), key=lambda failure: failure[0])
        return f"process {rank}: {reason(inner)}"
    if isinstance(error, RuntimeError) and isinstance(error.__context__, OSError):
        return reason(error.__context__)  # on a full disk, torch's writer only says that its position is wrong
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}: {error.filename}" if error.filename else error.strerror
    return " ".join(str(error).split())[:200] or type(error).__name__


def silence_dcp() -> None:
    """DCP would warn each time that one process works alone, which is intended."""
    warnings.filterwarnings("ignore", message="torch.distributed is disabled")


def _write_tensors(folder: Path, state: State, group: Group) -> str:
    """Write the tensors; returns the problem of any process, or ""."""
    if group is None or distributed.get_rank() == 0:
        checkpoints.remove(folder)  # an earlier checkpoint of this step
    if group is not None:
        distributed.barrier(group)
    # No copying ahead: the tensors are on the CPU, and DCP would initialise the first GPU in each process for it.
    writer = FileSystemWriter(folder, per_thread_copy_ahead=0)
    silence_dcp()
    try:
        save(state, storage_writer=writer, process_group=group, no_dist=group is None)
    except (CheckpointException, OSError, RuntimeError) as error:  # the same on all processes
        return reason(error) if group is not None else reason(error).removeprefix("process 0: ")
    return ""


def _sizes(folder: Path, group: Group) -> dict[str, int]:
    """The files with tensors and their sizes. Each process looks at its own: network file systems show others late."""
    rank = 0 if group is None else distributed.get_rank()
    mine = {file.name: file.stat().st_size for file in folder.glob(f"__{rank}_*")}
    sizes = [mine] if group is None else gather_objects(mine, group)
    return {name: size for each in sizes for name, size in each.items()}


def _complete(folder: Path, contents: Contents, sizes: Mapping[str, int]) -> str:
    """Write what the first process alone writes, last the mark; returns the problem, or ""."""
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


def _broadcast(problem: str, group: Group) -> str:
    """The problem of the first process, on all of them."""
    message = [problem]
    if group is not None:
        distributed.broadcast_object_list(message, src=0, group=group)
    return message[0]


def _sync(folder: Path) -> None:
    """Write the directory entries of a folder to the disk."""
    opened = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
