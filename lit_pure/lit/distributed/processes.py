"""What the processes of one launch must agree on before Lightning's Trainer has brought them together.

Knows how they were started: by torchrun or SLURM (all at once), or by the first one, which Lightning makes start the
others with the same command and a copy of its environment. Knows nothing of what is agreed on.
"""

import atexit
import json
import os
from collections.abc import Callable
from datetime import timedelta

import torch
from lightning.fabric.plugins.environments.cluster_environment import ClusterEnvironment
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from torch import distributed

from lit_pure.config.compose import ConfigError
from lit_pure.config.training import TrainerConfig

TOLD = "LIT_PURE_TOLD"
"""Environment variable through which a process tells those that it starts what was decided."""
Decision = dict[str, str]


def agreed(name: str, config: TrainerConfig, decide: Callable[[], Decision]) -> Decision:
    """What the first process decides, on all of them.

    Raises:
        ValueError: on all processes, what `decide` raised on the first one.
    """
    environment = _outside()
    if environment is not None and not distributed.is_initialized():
        _meet(environment, config.timeout)
    if distributed.is_initialized():
        return _broadcast(decide)
    known: dict[str, Decision] = json.loads(os.environ.get(TOLD, "{}"))
    if os.environ.get("LOCAL_RANK", "0") != "0" or os.environ.get("NODE_RANK", "0") != "0":
        if name not in known:  # a second machine, on which nobody knows what the first one decided
            raise ConfigError("start a run on several machines with torchrun or SLURM, not by hand on each of them")
        return known[name]
    os.environ[TOLD] = json.dumps(known | {name: decide()})
    return json.loads(os.environ[TOLD])[name]


def started_together() -> int:
    """How many processes torchrun or SLURM started for this run; 1 where nobody did."""
    environment = _outside()
    return environment.world_size() if environment is not None else 1


def _outside() -> ClusterEnvironment | None:
    """Who started several processes at once, if somebody did."""
    for kind in (TorchElasticEnvironment, SLURMEnvironment):
        if kind.detect() and (found := kind()).world_size() > 1:
            return found
    return None


def _meet(environment: ClusterEnvironment, timeout: float) -> None:
    """Make the process group that Lightning then finds and uses."""
    os.environ["MASTER_ADDR"], os.environ["MASTER_PORT"] = environment.main_address, str(environment.main_port)
    distributed.init_process_group(
        "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo",
        timeout=timedelta(seconds=timeout),
        rank=environment.global_rank(),
        world_size=environment.world_size(),
    )
    # Who leaves it to the interpreter's end may be aborted there.
    atexit.register(_part)


def _part() -> None:
    if distributed.is_initialized():
        distributed.destroy_process_group()


def _broadcast(decide: Callable[[], Decision]) -> Decision:
    told: list[tuple[str, Decision]] = [("", {})]
    if distributed.get_rank() == 0:
        try:
            told = [("", decide())]
        except ConfigError as error:
            told = [(str(error), {})]
    distributed.broadcast_object_list(told)
    problem, decision = told[0]
    if problem:
        raise ConfigError(problem)
    return decision
