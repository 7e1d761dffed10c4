"""How the processes of one launch agree on something, also before Lightning's Trainer has connected them.

Knows how they were started: all at once by torchrun or SLURM, or by the first one, which Lightning lets start the
others with the same command and a copy of its environment. Knows nothing of what they agree on.
"""

import atexit
import json
import os
from collections.abc import Callable
from datetime import timedelta
from typing import TypeVar

import torch
from lightning.fabric.plugins.environments.cluster_environment import ClusterEnvironment
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from torch import distributed

from lit_pure.config.compose import ConfigError
from lit_pure.config.training import TrainerConfig
from lit_pure.lit.distributed.meeting import LAUNCHERS, meet

DECISIONS = "LIT_PURE_DECISIONS"
"""Environment variable with the decisions of a process, for the processes that it starts."""
Decision = dict[str, str]
T = TypeVar("T")


def agree_on(name: str, config: TrainerConfig, decide: Callable[[], Decision]) -> Decision:
    """The decision of the first process, on all of them.

    Raises:
        ValueError: on all processes, what `decide` raised on the first one.
    """
    environment = _launcher()
    if environment is not None and not distributed.is_initialized():
        _init_process_group(environment, config.timeout)
    if distributed.is_initialized():
        return _broadcast(decide)
    known: dict[str, Decision] = json.loads(os.environ.get(DECISIONS, "{}"))
    if os.environ.get("LOCAL_RANK", "0") != "0" or os.environ.get("NODE_RANK", "0") != "0":
        if name not in known:  # a second machine, which cannot know what the first one decided
            raise ConfigError("start a run on several machines with torchrun or SLURM, not by hand on each of them")
        return known[name]
    os.environ[DECISIONS] = json.dumps(known | {name: decide()})
    return json.loads(os.environ[DECISIONS])[name]


def gather_objects(mine: T, group: distributed.ProcessGroup | None = None) -> list[T]:
    """What each process has, on every process, in the order of their ranks. All of them must call it.

    Args:
        mine: what this process has; it can be pickled.
        group: the processes; None is all of them, or this one if it is alone.
    """
    if not (distributed.is_available() and distributed.is_initialized()):
        return [mine]
    everyone = [mine] * distributed.get_world_size(group)
    distributed.all_gather_object(everyone, mine, group=group)
    return everyone


def count_launched() -> int:
    """The number of processes that torchrun or SLURM started for this run; 1 without them."""
    environment = _launcher()
    return environment.world_size() if environment is not None else 1


def launched_size() -> tuple[int, int] | None:
    """Machines, and processes on each of them, that torchrun or SLURM started for this run; None without them."""
    environment = _launcher()
    if environment is None:
        return None
    world = environment.world_size()
    if isinstance(environment, SLURMEnvironment):
        nodes = int(os.environ.get("SLURM_NNODES", "1"))
    else:
        nodes = world // int(os.environ.get("LOCAL_WORLD_SIZE", world))
    return nodes, world // nodes


def _launcher() -> ClusterEnvironment | None:
    """What started several processes at once, if anything did."""
    for kind, (starter, variable) in LAUNCHERS.items():
        wrong = f"{variable} is set, as by {starter}, but"
        try:
            if kind.detect() and (found := kind()).world_size() > 1:
                found.global_rank(), found.local_rank()
                return found
        except KeyError as error:
            raise ConfigError(f"{wrong} {error.args[0]} is not; start with {starter}, or unset {variable}") from error
        except (RuntimeError, ValueError) as error:  # Lightning's, of what it does not support
            raise ConfigError(f"{wrong} {error}") from error
    return None


def _init_process_group(environment: ClusterEnvironment, timeout: float) -> None:
    """Make the process group, which Lightning then finds and uses."""
    os.environ["MASTER_ADDR"], os.environ["MASTER_PORT"] = environment.main_address, str(environment.main_port)
    met = meet(environment, timeout)
    distributed.init_process_group(
        "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo",
        timeout=timedelta(seconds=timeout),
        rank=environment.global_rank(),
        world_size=environment.world_size(),
    )
    del met
    # Left to the end of the interpreter, its destruction may abort the process.
    atexit.register(_destroy_process_group)


def _destroy_process_group() -> None:
    if distributed.is_initialized():
        distributed.destroy_process_group()


def _broadcast(decide: Callable[[], Decision]) -> Decision:
    message: list[tuple[str, Decision]] = [("", {})]
    if distributed.get_rank() == 0:
        try:
            message = [("", decide())]
        except ConfigError as error:
            message = [(str(error), {})]
    distributed.broadcast_object_list(message)
    problem, decision = message[0]
    if problem:
        raise ConfigError(problem)
    return decision
